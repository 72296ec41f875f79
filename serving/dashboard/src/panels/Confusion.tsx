"use client";

import { useState } from "react";
import type { Schemas } from "@/api/client";
import { count, percent } from "@/lib/formats";
import { LABELS, type Label } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";
import { Panel } from "@/ui/Panel";
import { ScrollBox } from "@/ui/ScrollBox";
import { Examples } from "./Examples";

interface Cell {
  label: Label;
  predicted: Label;
}

/** The confusion matrix of a candidate, and the texts of the chosen cell. */
export function Confusion({
  candidate: { name, evaluated, confusion },
}: {
  candidate: Schemas["Candidate"];
}) {
  const [chosen, choose] = useState<Cell>({ label: "neutral", predicted: "negative" });
  const rows = confusion?.map((row, at) => ({
    label: LABELS[at] ?? "neutral",
    row,
    all: row.reduce((sum, value) => sum + value, 0),
  }));
  const csv = () =>
    (rows ?? []).map(({ label, row }) => ({
      true: label,
      ...Object.fromEntries(LABELS.map((predicted, at) => [`predicted ${predicted}`, row[at] ?? 0])),
    }));
  return (
    <Panel
      name="confusion"
      title="Confusion matrix"
      note={`${name}. Rows: true label. Columns: predicted label. Choose a cell to see its texts.`}
      csv={{ file: `confusion-${name}`, rows: csv }}
    >
      {rows ? (
        <>
          <ScrollBox label="Confusion matrix">
            <table className="confusion" data-testid="table-confusion">
              <thead>
                <tr>
                  <th scope="col">true</th>
                  {LABELS.map((label) => (
                    <th key={label} scope="col" className="number">
                      <LabelMark label={label} />
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {rows.map(({ label, row, all }) => (
                  <tr key={label}>
                    <th scope="row">
                      <LabelMark label={label} />
                    </th>
                    {LABELS.map((predicted, at) => (
                      <td
                        key={predicted}
                        className="number shaded"
                        style={{ "--part": `${(100 * (row[at] ?? 0)) / (all || 1)}%` } as React.CSSProperties}
                      >
                        <button
                          type="button"
                          className="cell"
                          aria-pressed={chosen.label === label && chosen.predicted === predicted}
                          aria-label={`${percent((row[at] ?? 0) / (all || 1))} ${count(row[at])}: ${label} texts predicted as ${predicted}, show them`}
                          onClick={() => choose({ label, predicted })}
                        >
                          <strong>{percent((row[at] ?? 0) / (all || 1))}</strong>{" "}
                          <span className="quiet">{count(row[at])}</span>
                        </button>
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </ScrollBox>
          <Examples name={evaluated} {...chosen} />
        </>
      ) : (
        <p className="plain">Not measured for this candidate.</p>
      )}
    </Panel>
  );
}

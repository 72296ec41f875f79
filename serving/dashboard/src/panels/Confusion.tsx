"use client";

import type { Schemas } from "@/api/client";
import { count, percent } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";
import { Panel } from "@/ui/Panel";
import { ScrollBox } from "@/ui/ScrollBox";

/** What a candidate takes for what. */
export function Confusion({ candidate: { name, confusion } }: { candidate: Schemas["Candidate"] }) {
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
      title="Confusion"
      note={`What ${name} says (columns) of texts that are truly something (rows).`}
      csv={{ file: `confusion-${name}`, rows: csv }}
    >
      {rows ? (
        <ScrollBox label="Confusion">
          <table className="confusion" data-testid="table-confusion">
            <thead>
              <tr>
                <th scope="col">truly</th>
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
                      <strong>{percent((row[at] ?? 0) / (all || 1))}</strong> <span>{count(row[at])}</span>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollBox>
      ) : (
        <p className="plain">It was not counted for this candidate.</p>
      )}
    </Panel>
  );
}

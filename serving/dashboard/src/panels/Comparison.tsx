"use client";

import { useState } from "react";
import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { count, fixed, percent, plural, signed } from "@/lib/formats";
import { sliceWords } from "@/lib/slices";
import { LabelMark } from "@/ui/LabelMark";
import { MessageText } from "@/ui/MessageText";
import { Name } from "@/ui/Name";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";
import { Select } from "@/ui/Select";
import { type Column, rowsOfTable, Table } from "@/ui/Table";

type Compared = Schemas["Comparison"];
type Measure = Schemas["MeasureCompared"];
type Slice = Schemas["SliceCompared"];
type Changed = Schemas["ChangedPrediction"];

const SELDOM_MS = 60_000;
const WORDS: Record<string, string> = { macro_recall: "macro-recall", macro_f1: "macro-F1", ece: "ECE" };

/** Two models on the same test texts: measures, slices, changed predictions. */
export function Comparison() {
  const evaluated = usePanel("evaluated", {}, { every: SELDOM_MS });
  const rows = evaluated.data?.rows ?? [];
  const [chosen, choose] = useState({ left: "", right: "" });
  const name = (wanted: string, fallback: number) =>
    rows.find((row) => row.name === wanted)?.name ?? rows[fallback]?.name ?? "";
  const [left, right] = [name(chosen.left, 1), name(chosen.right, 0)];
  const options = rows.map((row) => ({
    value: row.name,
    words: row.in_production ? `${row.title}, production` : row.title,
  }));
  return (
    <Panel
      name="comparison"
      title="Compare two models"
      note="On the same test texts. The difference is right minus left, with its 95 % interval; it is significant if the interval excludes 0."
    >
      <QueryContent query={evaluated}>
        {({ missing }) =>
          missing || rows.length < 2 ? (
            <p className="plain">{missing ?? "Only one model was evaluated here."}</p>
          ) : (
            <>
              <div className="row choices">
                <Select
                  name="Left"
                  value={left}
                  options={options}
                  onChange={(value) => choose({ left: value, right })}
                />
                <Select
                  name="Right"
                  value={right}
                  options={options}
                  onChange={(value) => choose({ left, right: value })}
                />
              </div>
              <Differences left={left} right={right} />
            </>
          )
        }
      </QueryContent>
    </Panel>
  );
}

function Differences({ left, right }: { left: string; right: string }) {
  const query = usePanel("comparison", { left, right }, { every: SELDOM_MS });
  return (
    <QueryContent query={query}>
      {(comparison) => (
        <>
          <p className="sentence" data-testid="comparison-words">
            <strong>{plural(comparison.changed, "prediction")}</strong> of {count(comparison.rows)} changed:{" "}
            {count(comparison.corrected)} corrected, {count(comparison.broken)} broken,{" "}
            {count(comparison.changed - comparison.corrected - comparison.broken)} wrong both times.
          </p>
          <div className="compared">
            <Table
              name="measures"
              caption="Measures compared"
              columns={MEASURES}
              rows={comparison.measures}
              keyOf={(row) => row.name}
              empty="No measures in common."
            />
            <Table
              name="compared-slices"
              caption="Slices compared"
              columns={SLICES}
              rows={comparison.slices}
              keyOf={(row) => row.names.join()}
              tall
              empty="No slices in common."
            />
          </div>
          <ChangedTexts comparison={comparison} />
        </>
      )}
    </QueryContent>
  );
}

const MEASURES: readonly Column<Measure>[] = [
  { head: "measure", value: ({ name }) => WORDS[name] ?? name.replace("_", " ") },
  { head: "left", value: ({ left }) => left.value, show: ({ left }) => fixed(left.value, 3), number: true },
  {
    head: "right",
    value: ({ right }) => right.value,
    show: ({ right }) => fixed(right.value, 3),
    number: true,
  },
  {
    head: "difference",
    value: ({ left, right }) => (right.value ?? Number.NaN) - (left.value ?? Number.NaN),
    show: ({ left, right, difference }) => (
      <>
        {left.value === null || right.value === null ? "–" : signed(right.value - left.value, 3)}
        {difference && isSignificant(difference) && <strong title="The interval excludes 0"> *</strong>}
      </>
    ),
    number: true,
  },
  {
    head: "95 % interval",
    value: ({ difference }) => (difference ? `${difference.low} to ${difference.high}` : null),
    show: ({ difference }) =>
      difference?.low == null || difference.high == null
        ? "–"
        : `${signed(difference.low, 3)} to ${signed(difference.high, 3)}`,
    number: true,
  },
];

function isSignificant({ low, high }: Schemas["Interval"]): boolean {
  return low !== null && high !== null && (low > 0 || high < 0);
}

const SLICES: readonly Column<Slice>[] = [
  {
    head: "slice",
    value: ({ names }) => sliceWords(names),
    show: ({ names }) => <Name of={sliceWords(names)} />,
  },
  { head: "texts", value: ({ rows }) => rows, show: ({ rows }) => count(rows), number: true },
  { head: "left", value: ({ left }) => left.value, show: ({ left }) => fixed(left.value, 3), number: true },
  {
    head: "right",
    value: ({ right }) => right.value,
    show: ({ right }) => fixed(right.value, 3),
    number: true,
  },
  {
    head: "difference",
    value: ({ left, right }) => (right.value ?? Number.NaN) - (left.value ?? Number.NaN),
    show: ({ left, right }) =>
      left.value === null || right.value === null ? "–" : signed(right.value - left.value, 3),
    number: true,
  },
];

const CHANGED: readonly Column<Changed>[] = [
  {
    head: "change",
    value: ({ change }) => change,
    show: ({ change }) => (
      <span className={change === "broken" ? "tag open" : change === "corrected" ? "tag good" : "tag"}>
        {change}
      </span>
    ),
  },
  { head: "true label", value: ({ label }) => label, show: ({ label }) => <LabelMark label={label} /> },
  { head: "left", value: ({ left }) => left, show: ({ left }) => <LabelMark label={left} /> },
  { head: "right", value: ({ right }) => right, show: ({ right }) => <LabelMark label={right} /> },
  {
    head: "confidence",
    value: ({ right_confidence }) => right_confidence,
    show: ({ right_confidence }) => percent(right_confidence),
    number: true,
  },
  { head: "text", value: ({ text }) => text, show: ({ text }) => <MessageText text={text} />, wide: true },
];

function ChangedTexts({ comparison }: { comparison: Compared }) {
  return (
    <Panel
      name="changed"
      title="Changed predictions"
      note={`At most 20 of each kind of change, the most confident first.`}
      csv={{
        file: `changed-${comparison.left}-${comparison.right}`,
        raw: true,
        rows: () => rowsOfTable(CHANGED, comparison.examples),
      }}
    >
      <Table
        name="changed"
        caption="Changed predictions"
        columns={CHANGED}
        rows={comparison.examples}
        keyOf={(row) => `${row.text} ${row.left} ${row.right}`}
        tall
        flows
        empty="Both predict the same label for every text."
      />
    </Panel>
  );
}

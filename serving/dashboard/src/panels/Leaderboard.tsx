"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { fixed, microseconds, milliseconds, usd } from "@/lib/formats";
import { Meter } from "@/ui/Meter";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

type Candidate = Schemas["Candidate"];
type Measure = "macro_recall" | "macro_f1" | "accuracy" | "ece";

function measured(head: string, measure: Measure): Column<Candidate> {
  return {
    head,
    value: (row) => row[measure].value,
    show: (row) => fixed(row[measure].value, 3),
    number: true,
  };
}

const columnsOf = (scale: { from: number; to: number }): readonly Column<Candidate>[] => [
  {
    head: "model",
    value: (row) => row.name,
    show: (row) => (
      <>
        <strong>{row.name}</strong> {row.in_production && <span className="tag good">production</span>}{" "}
        {row.from_scratch && <span className="tag">from scratch</span>}
        {row.large_model && <span className="tag">large model</span>}
      </>
    ),
  },
  measured("macro-recall", "macro_recall"),
  {
    head: "95 % interval",
    value: (row) => `${fixed(row.macro_recall.low, 3)} to ${fixed(row.macro_recall.high, 3)}`,
    show: (row) => <Meter interval={row.macro_recall} {...scale} />,
  },
  measured("macro-F1", "macro_f1"),
  measured("accuracy", "accuracy"),
  measured("ECE", "ece"),
  {
    head: "CPU per text",
    unit: "µs",
    value: (row) => row.cpu_us_per_text,
    show: (row) => microseconds(row.cpu_us_per_text),
    number: true,
  },
  {
    head: "a million texts",
    unit: "USD",
    value: (row) => row.usd_per_million,
    show: (row) => usd(row.usd_per_million),
    number: true,
  },
  {
    head: "p99, one text",
    unit: "ms",
    value: (row) => row.p99_ms,
    show: (row) => milliseconds(row.p99_ms),
    number: true,
  },
  {
    head: "Pareto-optimal",
    value: (row) => (row.on_front ? "yes" : "no"),
    show: (row) => (row.on_front ? "◆ yes" : "no"),
  },
];

/** All candidates, evaluated on the same texts, the best first. */
export function Leaderboard({ query }: { query: UseQueryResult<Schemas["Leaderboard"]> }) {
  return (
    <QueryTable
      name="leaderboard"
      title="Leaderboard"
      note="The best first. Pareto-optimal ◆: no other model is both more accurate and cheaper."
      file="leaderboard"
      query={query}
      rowsOf={({ rows }) =>
        [...rows].sort((a, b) => (b.macro_recall.value ?? 0) - (a.macro_recall.value ?? 0))
      }
      columns={columnsOf(scaleOf(query.data?.rows ?? []))}
      keyOf={(row) => row.name}
      marked={(row) => row.in_production}
      empty="No candidate was evaluated here yet."
    />
  );
}

/** From the lowest end of an interval to the highest. */
function scaleOf(rows: readonly Candidate[]): { from: number; to: number } {
  const ends = rows.flatMap(({ macro_recall: { low, value, high } }) =>
    [low, value, high].filter((end) => end !== null),
  );
  return { from: Math.min(1, ...ends) - 0.01, to: Math.max(0, ...ends) + 0.01 };
}

"use client";

import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { QualityChart, type QualityPoint } from "./QualityChart";

/** Quality and cost: macro-recall of each candidate by its CPU time. */
export function Pareto({ rows }: { rows: readonly Schemas["Candidate"][] }) {
  const points = useMemo(() => rows.flatMap(pointOf).sort((a, b) => a.cost - b.cost), [rows]);
  return (
    <QualityChart
      name="pareto"
      title="Quality and cost"
      note="Macro-recall by CPU time per text. The line joins the Pareto-optimal models: no other is both more accurate and cheaper. The ring is production."
      points={points}
      words={{ ring: "in production", front: "Pareto-optimal" }}
      empty="No candidate has both a macro-recall and a measured cost here."
    />
  );
}

function pointOf(row: Schemas["Candidate"]): QualityPoint[] {
  const { value, low, high } = row.macro_recall;
  if (value === null || row.cpu_us_per_text === null) return [];
  return [
    {
      name: row.name,
      cost: row.cpu_us_per_text,
      value,
      low,
      high,
      front: row.on_front,
      ring: row.in_production,
    },
  ];
}

"use client";

import { useMemo } from "react";
import type uPlot from "uplot";
import type { Schemas } from "@/api/client";
import { fixed, percent } from "@/lib/formats";
import { numberAxis, valueAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable } from "@/ui/Table";
import type { Theme } from "@/ui/theme";

type Bin = Schemas["Bin"];

const HEIGHT = 280;
const COLUMNS: readonly Column<Bin>[] = [
  { head: "confidence", value: ({ confidence }) => confidence },
  { head: "accuracy", value: ({ accuracy }) => accuracy },
  { head: "texts", value: ({ rows }) => rows },
];

/** The calibration of a candidate: accuracy by confidence. */
export function Reliability({ candidate: { name, reliability, ece } }: { candidate: Schemas["Candidate"] }) {
  const bins = useMemo(
    () => [...(reliability ?? [])].sort((a, b) => a.confidence - b.confidence),
    [reliability],
  );
  const data = useMemo((): uPlot.AlignedData => {
    const x = [0, ...bins.map(({ confidence }) => confidence), 1];
    return [x, x, [null, ...bins.map(({ accuracy }) => accuracy), null]];
  }, [bins]);
  return (
    <Panel
      name="reliability"
      title="Calibration"
      note={`${name}: accuracy by predicted confidence; the diagonal is perfect calibration. ECE ${fixed(ece.value, 3)}.`}
      csv={{ file: `reliability-${name}`, rows: () => rowsOfTable(COLUMNS, bins) }}
    >
      {bins.length ? (
        <Chart
          name="reliability"
          label={wordsOf(bins)}
          data={data}
          options={options}
          height={HEIGHT}
          range={WHOLE}
        />
      ) : (
        <p className="plain">Not measured for this candidate.</p>
      )}
    </Panel>
  );
}

const WHOLE: [number, number] = [0, 1];

function wordsOf(bins: readonly Bin[]): string {
  return bins
    .map(({ confidence, accuracy }) => `confidence ${percent(confidence)}, accuracy ${percent(accuracy)}`)
    .join("; ");
}

function options(theme: Theme): Omit<uPlot.Options, "width" | "height"> {
  return {
    series: [
      {},
      { label: "perfect calibration", stroke: theme.quiet, width: 1, dash: [5, 5], points: { show: false } },
      {
        label: "accuracy",
        stroke: theme.accent,
        width: 2,
        points: { show: true, size: 7, fill: theme.accent },
      },
    ],
    axes: [valueAxis(theme, (at) => percent(at), "confidence"), numberAxis(theme, (at) => percent(at))],
    scales: { x: { time: false }, y: { range: WHOLE } },
    cursor: { show: false },
  };
}

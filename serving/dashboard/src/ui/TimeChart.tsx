"use client";

import { useCallback, useMemo } from "react";
import type uPlot from "uplot";
import { bytes, when } from "@/lib/formats";
import type { Series } from "@/lib/history";
import { extent, latest } from "@/lib/lines";
import { numberAxis, timeAxis } from "./axes";
import { Chart } from "./Chart";
import { rowsOfChart } from "./csv";
import { timeCursor } from "./cursor";
import { EmptyChart } from "./EmptyChart";
import type { LegendItem } from "./Legend";
import { Panel } from "./Panel";
import type { Theme } from "./theme";

const HEIGHT = 170;
/** Steps of an axis of bytes. */
/** Without 0.25 and the like, which one decimal would show as 0.3. */
const DECIMAL = [
  0.1,
  0.2,
  0.5,
  ...Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((first) => first * 10 ** power)).flat(),
];
const BINARY = Array.from({ length: 40 }, (_, power) => 2 ** power);
const COLORS = ["s1", "s2", "s3", "s4", "s5"] as const;
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4]];

interface Props {
  name: string;
  title: string;
  note: string;
  times: readonly number[];
  lines: readonly Series[];
  range: readonly [number, number];
  format: (value: number | null | undefined) => string;
  /** The least upper end of the axis. */
  least: number;
  /** A threshold, drawn if the axis reaches it. */
  limit?: { at: number; words: string };
  /** Shown if there is no value at all. */
  empty: string;
  onZoom: (from: number, to: number) => void;
}

/** A panel with lines over time; the axis starts at zero. */
export function TimeChart({
  name,
  title,
  note,
  times,
  lines,
  range,
  format,
  least,
  limit,
  empty,
  onZoom,
}: Props) {
  const names = lines.map((line) => line.name).join("\n");
  const data = useMemo(
    (): uPlot.AlignedData => [[...times], ...lines.map(({ values }) => values)],
    [times, lines],
  );
  const options = useCallback(
    (theme: Theme) => make(theme, names.split("\n"), format, least),
    [names, format, least],
  );
  const under = useCallback((chart: uPlot, theme: Theme) => limit && threshold(chart, theme, limit), [limit]);
  const last = times.findLastIndex((_, at) => lines.some(({ values }) => values[at] != null));
  const legend = (at: number | null, theme: Theme): LegendItem[] => {
    const index = at ?? last;
    return [
      { name: at === null ? "last, at" : "at", value: when(times[index] ?? range[1], range[1]) },
      ...lines.map((line, place) => ({
        name: line.name,
        value: format(line.values[index]),
        color: theme[COLORS[place % COLORS.length] ?? "s1"],
        dash: DASHES[place % DASHES.length],
      })),
    ];
  };
  const csv = () =>
    rowsOfChart(["time", ...lines.map((line) => line.name)], data as ArrayLike<number | null | undefined>[]);
  return (
    <Panel name={name} title={title} note={note} csv={{ file: name, rows: csv }}>
      {lines.every(({ values }) => latest(values) === null) ? (
        <EmptyChart words={empty} height={HEIGHT + 30} />
      ) : (
        <Chart
          name={name}
          label={wordsOf(lines, format)}
          data={data}
          options={options}
          height={HEIGHT}
          range={range}
          under={under}
          legend={legend}
          onZoom={onZoom}
        />
      )}
    </Panel>
  );
}

function wordsOf(lines: readonly Series[], format: Props["format"]): string {
  return lines
    .map(({ name, values }) => {
      const [, high] = extent([values]) ?? [null, null];
      return `${name}: last ${format(latest(values))}, highest ${format(high)}`;
    })
    .join("; ");
}

function make(
  theme: Theme,
  names: string[],
  format: Props["format"],
  least: number,
): Omit<uPlot.Options, "width" | "height"> {
  return {
    series: [
      {},
      ...names.map((label, at) => ({
        label,
        stroke: theme[COLORS[at % COLORS.length] ?? "s1"],
        dash: DASHES[at % DASHES.length],
        width: 2,
        points: { show: true, size: 4, filter: alone },
      })),
    ],
    axes: [
      timeAxis(theme),
      { ...numberAxis(theme, format), size: 66, incrs: format === bytes ? BINARY : DECIMAL },
    ],
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, Math.max(least, (high ?? 0) * 1.1)] } },
    cursor: timeCursor,
  };
}

/** Draw a value between two gaps as a point, since it has no line. */
function alone(chart: uPlot, at: number): number[] {
  const values = chart.data[at] ?? [];
  return Array.from(values.keys()).filter(
    (i) => values[i] != null && values[i - 1] == null && values[i + 1] == null,
  );
}

function threshold(chart: uPlot, theme: Theme, { at, words }: { at: number; words: string }): void {
  if (at > (chart.scales.y?.max ?? 0)) return;
  const { ctx, bbox } = chart;
  const y = chart.valToPos(at, "y", true);
  ctx.save();
  ctx.strokeStyle = theme.negative;
  ctx.fillStyle = theme["negative-ink"];
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  ctx.fillText(words, bbox.left + 4 * devicePixelRatio, y - 2 * devicePixelRatio);
  ctx.restore();
}

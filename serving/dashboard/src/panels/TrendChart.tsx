"use client";

import { useCallback, useMemo } from "react";
import type uPlot from "uplot";
import type { Alert } from "@/api/live";
import { epoch, fixed, NONE, when } from "@/lib/formats";
import type { Label } from "@/lib/labels";
import { type By, extent, type Lines, lastIndex, latest, type Values } from "@/lib/lines";
import { pointsRange } from "@/lib/points";
import { numberAxis, timeAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { timeCursor } from "@/ui/cursor";
import type { LegendItem } from "@/ui/Legend";
import type { Theme } from "@/ui/theme";

// Each line has its own dash pattern, so that color is not the only sign.
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4]];
const SOURCES = ["s1", "s2", "s3", "s4", "s5"] as const;
export const HEIGHT = 300;

interface Props {
  lines: Lines;
  by: By;
  range: [number, number];
  /** The last second with data: the shading of an open alert ends there. */
  now: number;
  /** The axis fits the lines; otherwise it runs from 0 to 100. */
  fits: boolean;
  alerts: readonly Alert[];
  label: string;
  onZoom: (from: number, to: number) => void;
}

export function TrendChart({ lines, by, range, now, fits, alerts, label, onZoom }: Props) {
  const names = lines.lines.map(({ name }) => name).join("\n");
  const hasRaw = Boolean(lines.raw);
  const hasBand = Boolean(lines.band);
  const options = useCallback(
    (theme: Theme) => make(theme, by, names.split("\n"), hasRaw, hasBand, fits),
    [by, names, hasRaw, hasBand, fits],
  );
  const data = useMemo(() => columns(lines), [lines]);
  const under = useCallback((chart: uPlot, theme: Theme) => shade(chart, theme, alerts, now), [alerts, now]);
  return (
    <Chart
      name="trend"
      label={label}
      data={data}
      options={options}
      height={HEIGHT}
      range={range}
      under={under}
      legend={(at, theme) => legendOf(lines, by, at, theme, now)}
      onZoom={onZoom}
    />
  );
}

/** The columns of the chart; those drawn under the others come first. */
function columns({ times, lines, raw, band }: Lines): uPlot.AlignedData {
  const drawn = lines.length ? lines.map(({ values }) => values) : [times.map(() => null)];
  return [times, ...(band ? [band.low, band.high] : []), ...(raw ? [raw] : []), ...drawn];
}

function colorOf(theme: Theme, by: By, name: string, at: number): string {
  if (by === "label") return theme[name as Label];
  return by === "source" ? theme[SOURCES[at] ?? "s1"] : theme.ink;
}

/** The values at an index, or the last ones. */
function legendOf(lines: Lines, by: By, at: number | null, theme: Theme, now: number): LegendItem[] {
  const index = at ?? lastIndex(lines);
  const value = (values: Values | undefined) => {
    const point = values?.[index];
    return point == null ? NONE : `${fixed(point, 1)}${by === "label" ? " %" : ""}`;
  };
  const low = lines.band?.low[index];
  const high = lines.band?.high[index];
  return [
    { name: at === null ? "last, at" : "at", value: when(lines.times[index] ?? now, now) },
    ...lines.lines.map(({ name, values }, place) => ({
      name,
      value: value(values),
      color: colorOf(theme, by, name, place),
      dash: DASHES[place],
    })),
    ...(lines.band
      ? [
          {
            name: "normal",
            value: low == null || high == null ? NONE : `${fixed(low, 0)} to ${fixed(high, 0)}`,
            color: theme.band,
            kind: "area" as const,
          },
        ]
      : []),
    ...(lines.raw
      ? [
          {
            name: "each second",
            value: at === null ? fixed(latest(lines.raw), 1) : value(lines.raw),
            color: theme.dot,
            kind: "dots" as const,
          },
        ]
      : []),
  ];
}

function make(
  theme: Theme,
  by: By,
  names: string[],
  hasRaw: boolean,
  hasBand: boolean,
  fits: boolean,
): Omit<uPlot.Options, "width" | "height"> {
  const lines = names.map((name, at) => ({
    label: name || "points",
    stroke: colorOf(theme, by, name, at),
    width: 2,
    dash: DASHES[at],
    points: { show: true, size: 5, filter: alone },
  }));
  const raw = {
    label: "each second",
    stroke: theme.dot,
    width: 0,
    paths: () => null,
    points: { show: true, size: 3, width: 0, fill: theme.dot },
  };
  const edge = (label: string) => ({ label, stroke: theme.band, width: 1, points: { show: false } });
  return {
    series: [
      {},
      ...(hasBand ? [edge("normal from"), edge("normal to")] : []),
      ...(hasRaw ? [raw] : []),
      ...lines,
    ],
    bands: hasBand ? [{ series: [2, 1], fill: theme.band }] : [],
    axes: [timeAxis(theme), numberAxis(theme, (at) => (by === "label" ? `${at} %` : `${at}`))],
    scales: {
      x: { time: true },
      y: { range: (chart) => (fits ? rangeOf(chart, names.length, hasBand) : [0, 100]) },
    },
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

/** The range of the lines and the band; single seconds may be outside. */
function rangeOf(chart: uPlot, lines: number, hasBand: boolean): [number, number] {
  const lists = [...chart.data.slice(-lines), ...(hasBand ? chart.data.slice(1, 3) : [])] as (
    | number
    | null
  )[][];
  const [low, high] = extent(lists) ?? [null, null];
  return pointsRange(low, high);
}

/** Draw the time of each alert as a shaded region with a mark at its start. */
function shade(chart: uPlot, theme: Theme, alerts: readonly Alert[], now: number): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { direction, started_at, closed_at } of alerts) {
    const left = Math.max(bbox.left, chart.valToPos(epoch(started_at), "x", true));
    const right = chart.valToPos(closed_at ? epoch(closed_at) : now, "x", true);
    const tone = direction === "down" ? "negative" : "positive";
    ctx.fillStyle = theme[`${tone}-soft`];
    ctx.fillRect(left, bbox.top, Math.max(right - left, 2 * ratio), bbox.height);
    ctx.fillStyle = theme[tone];
    ctx.fillRect(left, bbox.top, 2 * ratio, bbox.height);
    ctx.font = `${13 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    ctx.fillText(direction === "down" ? "▼" : "▲", left + 5 * ratio, bbox.top + 3 * ratio);
  }
  ctx.restore();
}

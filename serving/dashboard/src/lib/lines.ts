import type { Schemas } from "@/api/client";
import type { Live, Normal } from "@/api/live";
import { epoch } from "./formats";
import { LABELS, type Label } from "./labels";
import { pointsOf } from "./points";
import { busiest, moving, NOTHING, perSecond, type Tally } from "./windows";

export type Values = (number | null)[];

/** What a chart of the trend shows: points, or shares in percent. */
export interface Lines {
  times: number[];
  lines: { name: string; values: Values }[];
  /** The points of each second alone. */
  raw?: Values;
  /** Where points are normal. */
  band?: { low: Values; high: Values };
}

export type By = "" | "label" | "source";

/** The window of the moving average. */
export const AVERAGE_S = 30;
const MOST_LINES = 5;

type Counted = Record<Label, number> & { messages: number };

const pointsIn = ({ messages, score }: Tally) => (messages ? pointsOf(score / messages) : null);
const shareIn = (label: Label) => (counts: Counted) =>
  counts.messages ? (100 * counts[label]) / counts.messages : null;

/** From the cells of the live socket: a value a second, each of the last 30 s; none where these are not all held. */
export function liveLines(
  { cells, since }: Pick<Live, "cells" | "since">,
  by: By,
  source: string,
  first: number,
  last: number,
  normals?: readonly Normal[],
): Lines {
  const times = Array.from({ length: last - first + 1 }, (_, at) => first + at);
  const before = AVERAGE_S - 1;
  const windowsOf = (of: string) =>
    moving(perSecond(cells, of, first - before, last), AVERAGE_S)
      .slice(before)
      .map((window, at) => (first + at - before < since ? NOTHING : window));
  if (by === "source") {
    const sources = source ? [source] : busiest(cells, first, last, MOST_LINES);
    return { times, lines: sources.map((name) => ({ name, values: windowsOf(name).map(pointsIn) })) };
  }
  const windows = windowsOf(source);
  if (by === "label")
    return { times, lines: LABELS.map((name) => ({ name, values: windows.map(shareIn(name)) })) };
  return {
    times,
    lines: [{ name: "30 s average", values: windows.map(pointsIn) }],
    raw: perSecond(cells, source, first, last).map(pointsIn),
    band: normals && bandOf(normals, windows, first),
  };
}

/** For how long what was normal at a minute is drawn, where the next minute is not known. */
const HOLDS_S = 120;

/**
 * Where the mean of each second's window would have been if nothing had changed, by what was normal at that second: the fewer
 * messages, the wider.
 */
export function bandOf(
  normals: readonly Normal[],
  windows: readonly Tally[],
  first: number,
): { low: Values; high: Values } {
  const edge = (side: 1 | -1) =>
    windows.map(({ messages }, at) => {
      const second = first + at;
      const normal = normals.findLast((each) => each.at <= second);
      if (!messages || !normal || second - normal.at >= HOLDS_S) return null;
      const reach = normal.threshold * Math.sqrt(normal.variance / messages + normal.drift);
      return Math.min(100, Math.max(0, pointsOf(normal.mean + side * reach)));
    });
  return { low: edge(-1), high: edge(1) };
}

/** From the warehouse: a value a bucket. */
export function pastLines(rows: readonly Schemas["TrendRow"][], by: By): Lines {
  const times = [...new Set(rows.map((row) => epoch(row.bucket)))].sort((a, b) => a - b);
  if (by !== "source") {
    const at = new Map(rows.map((row) => [epoch(row.bucket), row]));
    const line = (name: string, value: (row: Schemas["TrendRow"]) => number | null) => ({
      name,
      values: times.map((time) => orNone(at.get(time), value)),
    });
    if (by === "label") return { times, lines: LABELS.map((label) => line(label, shareIn(label))) };
    const band = {
      low: line("", ({ normal_low }) => normal_low ?? null).values,
      high: line("", ({ normal_high }) => normal_high ?? null).values,
    };
    return {
      times,
      lines: [line("average", (row) => row.points)],
      ...(latest(band.low) !== null && { band }),
    };
  }
  const messages = new Map<string, number>();
  const at = new Map<string, number>();
  for (const row of rows) {
    messages.set(row.source, (messages.get(row.source) ?? 0) + row.messages);
    at.set(`${row.source}\n${epoch(row.bucket)}`, row.points);
  }
  const sources = [...messages].sort((a, b) => b[1] - a[1]).slice(0, MOST_LINES);
  return {
    times,
    lines: sources.map(([name]) => ({
      name,
      values: times.map((time) => at.get(`${name}\n${time}`) ?? null),
    })),
  };
}

function orNone<Row>(row: Row | undefined, value: (row: Row) => number | null): number | null {
  return row === undefined ? null : value(row);
}

/** The least and the greatest of some values. */
export function extent(lists: readonly Values[]): [number, number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const list of lists) {
    for (const value of list) {
      if (value === null) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

export function latest(values: Values): number | null {
  return values.findLast((value) => value !== null) ?? null;
}

import type { Schemas } from "@/api/client";
import type { Live, Normal } from "@/api/live";
import { epoch } from "./formats";
import { LABELS, type Label } from "./labels";
import { pointsOf } from "./points";
import { busiest, type Cells, EMPTY_TALLY, moving, perSecond, plus, type Tally } from "./windows";

export type Values = (number | null)[];

/** The data of the trend chart: points, or shares in percent. */
export interface Lines {
  times: number[];
  lines: { name: string; values: Values }[];
  /** The points of each single second. */
  raw?: Values;
  /** The normal range of the points. */
  band?: { low: Values; high: Values };
}

export type By = "" | "label" | "source";

/** The window of the moving average, in seconds. */
export const AVERAGE_S = 30;
const MOST_LINES = 5;

type Counted = Record<Label, number> & { messages: number };

const pointsIn = ({ messages, score }: Tally) => (messages ? pointsOf(score / messages) : null);
const shareIn = (label: Label) => (counts: Counted) =>
  counts.messages ? (100 * counts[label]) / counts.messages : null;

/** Lines from the live socket: one value per second, the mean of the last 30 s; null if these seconds are incomplete. */
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
      .map((window, at) => (first + at - before < since ? EMPTY_TALLY : window));
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

/** Seconds for which the normal range of a minute is drawn if the next minute is not known. */
const HOLDS_S = 120;

/**
 * The normal range of the mean of each second's window, from the normal values at that second: the fewer messages, the
 * wider the range.
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

type Row = Schemas["TrendRow"];

/** Lines from the warehouse: one value per bucket; null for a bucket without messages, which leaves a gap in the line. */
export function pastLines(rows: readonly Row[], by: By, step: number): Lines {
  const times = filled(
    rows.map((row) => epoch(row.bucket)),
    step,
  );
  const line = (name: string, of: readonly Row[], value: (row: Row) => number | null) => {
    const at = new Map(of.map((row) => [epoch(row.bucket), row]));
    const buckets = times.map((time) => at.get(time));
    return { name, values: buckets.map((row) => (row ? value(row) : null)) };
  };
  const points = (row: Row) => row.points;
  if (by === "label") return { times, lines: LABELS.map((label) => line(label, rows, shareIn(label))) };
  if (by === "") return { times, lines: [line("average", rows, points)], ...pastBand(rows, times) };
  const messages = new Map<string, number>();
  for (const row of rows) messages.set(row.source, (messages.get(row.source) ?? 0) + row.messages);
  const sources = [...messages].sort((a, b) => b[1] - a[1]).slice(0, MOST_LINES);
  return {
    times,
    lines: sources.map(([name]) =>
      line(
        name,
        rows.filter((row) => row.source === name),
        points,
      ),
    ),
  };
}

/** The normal range at each of the times; empty if no row has one. */
export function pastBand(rows: readonly Row[], times: readonly number[]): Pick<Lines, "band"> {
  const at = new Map(rows.map((row) => [epoch(row.bucket), row]));
  const low = times.map((time) => at.get(time)?.normal_low ?? null);
  const high = times.map((time) => at.get(time)?.normal_high ?? null);
  return latest(low) === null ? {} : { band: { low, high } };
}

/** Turn rows of seconds into cells like those of the live socket. Rows without a source belong to `source`. */
export function cellsOf(rows: readonly Row[], source: string): Cells {
  const cells = new Map<string, Map<number, Tally>>();
  for (const { bucket, negative, neutral, positive, messages, points, source: own } of rows) {
    const name = own || source || "all";
    const seconds = cells.get(name) ?? new Map<number, Tally>();
    cells.set(name, seconds);
    seconds.set(epoch(bucket), {
      negative,
      neutral,
      positive,
      messages,
      score: (messages * (points - 50)) / 50,
    });
  }
  return cells;
}

/** Every step from the first time to the last. */
export function filled(times: readonly number[], step: number): number[] {
  const sorted = [...times].sort((a, b) => a - b);
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (first === undefined || last === undefined) return [];
  return Array.from({ length: Math.round((last - first) / step) + 1 }, (_, at) => first + at * step);
}

/** The least and the greatest value of some lists; null if they have no values. */
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

/** The last index at which any line has a value. */
export function lastIndex({ times, lines }: Lines): number {
  return times.findLastIndex((_, at) => lines.some(({ values }) => values[at] != null));
}

const SPARK_S = 30;

/** The points of a source in steps of half a minute. */
export function sparkOf(cells: Cells, source: string, first: number, last: number): Values {
  const seconds = perSecond(cells, source, first, last);
  return Array.from({ length: Math.ceil(seconds.length / SPARK_S) }, (_, at) =>
    pointsIn(seconds.slice(at * SPARK_S, (at + 1) * SPARK_S).reduce(plus, EMPTY_TALLY)),
  );
}

import type { Schemas } from "@/api/client";
import { filled, type Values } from "./lines";

type Row = Schemas["HistoryRow"];

export interface Series {
  name: string;
  values: Values;
}

const MOST_LINES = 5;
const WORKER = /^w\d+$/;

/** All steps of a history. A step in which no supervisor ran has no values. */
export function stepsOf({ rows, step_s }: Schemas["StreamHistory"]): {
  times: number[];
  rows: (Row | null)[];
} {
  const times = filled(
    rows.map(({ at }) => at),
    step_s,
  );
  const byTime = new Map(rows.map((row) => [row.at, row]));
  return { times, rows: times.map((time) => byTime.get(time) ?? null) };
}

/** One line per process; all workers share one line if there would be too many. */
export function processLines(rows: readonly (Row | null)[], what: "cpu" | "rss_bytes"): Series[] {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row?.[what] ?? {})))].sort();
  const workers = names.filter((name) => WORKER.test(name));
  const line = (name: string, members: readonly string[]) => ({
    name,
    values: rows.map((row) => sum(members.map((member) => row?.[what][member]))),
  });
  if (names.length <= MOST_LINES) return names.map((name) => line(name, [name]));
  const others = names.filter((name) => !WORKER.test(name));
  return [line(`${workers.length} workers`, workers), ...others.map((name) => line(name, [name]))];
}

function sum(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length ? known.reduce((total, value) => total + value, 0) : null;
}

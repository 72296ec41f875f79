import type { Normal } from "@/api/live";
import { pointsOf } from "./points";
import { type Cells, tally } from "./windows";

/**
 * The normal range of the mean of a window, in points; null if one of its sources has no normal values yet.
 * For several sources: their normal values, weighted by their messages.
 */
export function normalRange(
  cells: Cells,
  normal: Readonly<Record<string, Normal>>,
  source: string,
  first: number,
  last: number,
): [number, number] | null {
  let [messages, mean, variance, threshold] = [0, 0, 0, 0];
  for (const name of source ? [source] : cells.keys()) {
    const mine = tally(new Map([[name, cells.get(name) ?? new Map()]]), "", first, last).messages;
    const of = normal[name];
    if (!mine) continue;
    if (!of) return null;
    messages += mine;
    mean += mine * of.mean;
    variance += mine * of.variance + mine * mine * of.drift;
    threshold = Math.max(threshold, of.threshold);
  }
  if (!messages) return null;
  const reach = (threshold * Math.sqrt(variance)) / messages;
  const edge = (side: number) => Math.min(100, Math.max(0, pointsOf(mean / messages + side * reach)));
  return [edge(-1), edge(1)];
}

/** How many sources have messages in a window (`active`), and how many of these have normal values (`watched`). */
export function watchedSources(
  cells: Cells,
  normal: Readonly<Record<string, Normal>>,
  first: number,
  last: number,
): { watched: number; active: number } {
  const active = [...cells.keys()].filter((name) => name && tally(cells, name, first, last).messages);
  return { watched: active.filter((name) => normal[name]).length, active: active.length };
}

/** Points run from 0 (all negative) to 100 (all positive); scores from -1 to 1. */
export function pointsOf(score: number): number {
  return 50 + 50 * score;
}

/** Between these points a window is balanced. */
export const BALANCED: readonly [number, number] = [45, 55];

/** Points as words. */
export function moodOf(points: number): string {
  if (points < 30) return "mostly negative";
  if (points < BALANCED[0]) return "leaning negative";
  if (points <= BALANCED[1]) return "balanced";
  return points <= 70 ? "leaning positive" : "mostly positive";
}

/** The range of a fitted axis of points: multiples of ten, at least thirty apart, so that the line is steady. */
export function pointsRange(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [20, 80];
  let from = Math.max(0, Math.floor((low - 2) / 10) * 10);
  let to = Math.min(100, Math.ceil((high + 2) / 10) * 10);
  while (to - from < 30) {
    if (to < 100) to += 10;
    if (to - from < 30 && from > 0) from -= 10;
  }
  return [from, to];
}

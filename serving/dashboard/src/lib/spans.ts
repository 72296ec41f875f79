import { rangeOf } from "./formats";

export const SPANS = ["1m", "5m", "10m", "1h", "6h", "24h", "7d", "30d"] as const;
export type Span = (typeof SPANS)[number];

export const SPAN_S: Record<Span, number> = {
  "1m": 60,
  "5m": 300,
  "10m": 600,
  "1h": 3600,
  "6h": 21_600,
  "24h": 86_400,
  "7d": 604_800,
  "30d": 2_592_000,
};

export const SPAN_WORDS: Record<Span, string> = {
  "1m": "last minute",
  "5m": "last 5 minutes",
  "10m": "last 10 minutes",
  "1h": "last hour",
  "6h": "last 6 hours",
  "24h": "last 24 hours",
  "7d": "last 7 days",
  "30d": "last 30 days",
};

/** The window of the live socket, in seconds. */
export const LIVE_S = 600;
/** Days for which the warehouse keeps its coarsest counts. */
export const KEPT_DAYS = 730;
const DAY_S = 86_400;

/** The chosen time: a span up to now, or a range between two times in epoch seconds. */
export type Period = { span: Span } | { from: number; to: number };

/** The period in the address; an invalid range is ignored. */
export function periodOf(given: { span: Span; from: number | null; to: number | null }, now: number): Period {
  const { span, from, to } = given;
  return from !== null && to !== null && rangeProblem(from, to, now) === null ? { from, to } : { span };
}

/** Why a range cannot be shown, or null. */
export function rangeProblem(from: number | null, to: number | null, now: number): string | null {
  if (from === null || to === null) return "A range needs both a start and an end.";
  if (from >= to) return "The start of the range is not before its end.";
  if (from > now) return "The range begins in the future.";
  if (now - from > KEPT_DAYS * DAY_S)
    return `The range begins over ${KEPT_DAYS} days ago; older counts are not kept.`;
  return null;
}

export function secondsOf(period: Period): number {
  return "span" in period ? SPAN_S[period.span] : period.to - period.from;
}

/** "last 10 minutes", or "28 Nov, 06:30 to 06:40:00". */
export function periodWords(period: Period): string {
  return "span" in period ? SPAN_WORDS[period.span] : rangeOf(period.from, period.to);
}

/** The period as part of a file name. */
export function periodName(period: Period): string {
  if ("span" in period) return period.span;
  const name = (seconds: number) => new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(":", "");
  return `${name(period.from)}-${name(period.to)}`;
}

/** Seconds for which the warehouse keeps the counts of each second. */
const SECONDS_KEPT_S = 7 * DAY_S;

/** The buckets to request: seconds for a short period whose seconds are kept; otherwise the service chooses. */
export function bucketsOf(period: Period, now: number): "second" | undefined {
  const isKept = "span" in period || now - period.from < SECONDS_KEPT_S;
  return secondsOf(period) <= LIVE_S && isKept ? "second" : undefined;
}

export const STEP_S = { second: 1, minute: 60, hour: 3600 } as const;
export type Every = keyof typeof STEP_S;

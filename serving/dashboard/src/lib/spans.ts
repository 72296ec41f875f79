export const SPANS = ["1m", "5m", "10m", "1h", "6h", "24h"] as const;
export type Span = (typeof SPANS)[number];

export const SPAN_S: Record<Span, number> = {
  "1m": 60,
  "5m": 300,
  "10m": 600,
  "1h": 3600,
  "6h": 21_600,
  "24h": 86_400,
};

export const SPAN_WORDS: Record<Span, string> = {
  "1m": "last minute",
  "5m": "last 5 minutes",
  "10m": "last 10 minutes",
  "1h": "last hour",
  "6h": "last 6 hours",
  "24h": "last 24 hours",
};

/** What the live socket holds. */
export const LIVE_S = 600;

/** The buckets that a chart of the span is drawn from, where it is drawn from the warehouse. */
export function bucketOf(span: Span): { every: "second" | "minute"; step: number } {
  return SPAN_S[span] <= LIVE_S ? { every: "second", step: 1 } : { every: "minute", step: 60 };
}

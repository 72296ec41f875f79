import { filled, type Values } from "./lines";
import { STEP_S } from "./spans";

interface Counted {
  at: number;
  tier: string;
  messages: number;
}

/** Shares of single seconds would only be noise. */
const LEAST_STEP_S = 60;

/** A line for each tier: its share of the messages of a minute or hour, 0 to 1; null where there were none. */
export function shareLines(
  rows: readonly Counted[],
  every: keyof typeof STEP_S,
): { times: number[]; lines: { name: string; values: Values }[] } {
  const step = Math.max(LEAST_STEP_S, STEP_S[every]);
  const bucketOf = (at: number) => Math.floor(at / step) * step;
  const times = filled(
    rows.map(({ at }) => bucketOf(at)),
    step,
  );
  const totals = new Map<number, number>();
  const counts = new Map<string, number>();
  for (const { at, tier, messages } of rows) {
    const bucket = bucketOf(at);
    totals.set(bucket, (totals.get(bucket) ?? 0) + messages);
    counts.set(`${tier} ${bucket}`, (counts.get(`${tier} ${bucket}`) ?? 0) + messages);
  }
  const tiers = [...new Set(rows.map(({ tier }) => tier))].sort();
  return {
    times,
    lines: tiers.map((name) => ({
      name,
      values: times.map((at) => {
        const total = totals.get(at);
        return total ? (counts.get(`${name} ${at}`) ?? 0) / total : null;
      }),
    })),
  };
}

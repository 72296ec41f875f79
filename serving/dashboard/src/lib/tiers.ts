import { filled, type Values } from "./lines";
import { STEP_S } from "./spans";

interface Counted {
  at: number;
  tier: string;
  messages: number;
}

/** A line for each tier: its share of the messages of a bucket, 0 to 1; null where there were none. */
export function shareLines(
  rows: readonly Counted[],
  every: keyof typeof STEP_S,
): { times: number[]; lines: { name: string; values: Values }[] } {
  const times = filled(
    rows.map(({ at }) => at),
    STEP_S[every],
  );
  const totals = new Map<number, number>();
  const counts = new Map<string, number>();
  for (const { at, tier, messages } of rows) {
    totals.set(at, (totals.get(at) ?? 0) + messages);
    counts.set(`${tier} ${at}`, messages);
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

import type { Meaning } from "@/lib/thresholds";

const SIGNS = { good: "✓", warn: "!", bad: "▲" };

/** The meaning of a number as a sign, a color and words. */
export function Tone({ of: { tone, words } }: { of: Meaning }) {
  return (
    <span className={`tone ${tone}`}>
      <span aria-hidden="true">{SIGNS[tone]}</span> {words}
    </span>
  );
}

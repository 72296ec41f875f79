import type { Schemas } from "@/api/client";
import { fixed } from "@/lib/formats";

interface Props {
  interval: Schemas["Interval"];
  from: number;
  to: number;
}

/** A value as a dot, its interval as a line, on a scale. */
export function Meter({ interval: { value, low, high }, from, to }: Props) {
  if (value === null) return null;
  const at = (x: number) => `${Math.min(100, Math.max(0, (100 * (x - from)) / (to - from)))}%`;
  const words = `${fixed(value, 3)}, between ${fixed(low, 3)} and ${fixed(high, 3)}`;
  return (
    <span className="meter" role="img" aria-label={words} title={words}>
      {low !== null && high !== null && (
        <span className="reach" style={{ left: at(low), right: `calc(100% - ${at(high)})` }} />
      )}
      <span className="dot" style={{ left: at(value) }} />
    </span>
  );
}

import type { Meaning } from "@/lib/thresholds";
import { Tone } from "./Tone";

interface Figure {
  name: string;
  value: string;
  unit: string;
  meaning?: Meaning | null;
}

/** Key numbers in large type, with their meaning. */
export function Figures({ figures }: { figures: readonly Figure[] }) {
  return (
    <dl className="figures">
      {figures.map(({ name, value, unit, meaning }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <span className="value">{value}</span> <span className="quiet">{unit}</span>
            {meaning && <Tone of={meaning} />}
          </dd>
        </div>
      ))}
    </dl>
  );
}

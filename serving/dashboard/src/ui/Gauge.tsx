import { fixed } from "@/lib/formats";
import { BALANCED, moodOf } from "@/lib/points";

interface Props {
  points: number | null;
  /** The normal range of the points; null if it is not known. */
  normal: [number, number] | null;
}

/** Points on their scale: colors mark negative, balanced and positive, a bracket marks the normal range. */
export function Gauge({ points, normal }: Props) {
  const range = normal && `normal ${fixed(normal[0], 0)} to ${fixed(normal[1], 0)}`;
  const words =
    points === null
      ? "No points on a scale from 0, all negative, to 100, all positive"
      : `${fixed(points, 1)} on a scale from 0, all negative, to 100, all positive: ${moodOf(points)}${range ? `; ${range}` : ""}`;
  return (
    <div className="gauge">
      <div className="scale" role="img" aria-label={words} title={words}>
        <span className="negative" style={{ width: `${BALANCED[0]}%` }} />
        <span className="neutral" style={{ width: `${BALANCED[1] - BALANCED[0]}%` }} />
        <span className="positive" style={{ width: `${100 - BALANCED[1]}%` }} />
        {normal && (
          <span className="normal" style={{ left: `${normal[0]}%`, right: `${100 - normal[1]}%` }} />
        )}
        {points !== null && <span className="needle" style={{ left: `${points}%` }} />}
      </div>
      <div className="ends" aria-hidden="true">
        <span>0 negative</span>
        <span>{range}</span>
        <span>positive 100</span>
      </div>
    </div>
  );
}

import { percent } from "@/lib/formats";
import { LABELS, type Label } from "@/lib/labels";

/** The share of each label, as one bar. */
export function ShareBar({ counts }: { counts: Record<Label, number> }) {
  const all = LABELS.reduce((sum, label) => sum + counts[label], 0);
  const words = LABELS.map((label) => `${percent(all ? counts[label] / all : null)} ${label}`).join(", ");
  return (
    <div className="share" role="img" aria-label={words} title={words}>
      {LABELS.map((label) => (
        <span key={label} className={label} style={{ width: `${all ? (100 * counts[label]) / all : 0}%` }} />
      ))}
    </div>
  );
}

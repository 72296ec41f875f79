import type { Alert } from "@/api/live";
import { fixed } from "@/lib/formats";
import { pointsOf } from "@/lib/points";

/** "more negative: 61.2 → 40.3 points". */
export function shiftOf({ direction, baseline_mean, moving_average }: Alert): string {
  const way = direction === "down" ? "more negative" : "more positive";
  return `${way}: ${fixed(pointsOf(baseline_mean), 1)} → ${fixed(pointsOf(moving_average), 1)} points`;
}

/** Newest first; of one source, or of all where that is empty. */
export function newestAlerts(alerts: ReadonlyMap<string, Alert>, source: string): Alert[] {
  return [...alerts.values()]
    .filter((alert) => !source || alert.source === source)
    .sort((a, b) => Date.parse(b.detected_at) - Date.parse(a.detected_at) || a.id.localeCompare(b.id));
}

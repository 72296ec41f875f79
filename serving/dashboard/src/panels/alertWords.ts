import type { Alert } from "@/api/live";
import { withFilters } from "@/lib/filters";
import { count, epoch, fixed } from "@/lib/formats";
import { pointsOf } from "@/lib/points";
import { SPAN_S, SPANS } from "@/lib/spans";

/** "more negative: 61.2 → 40.3 points". */
export function shiftOf({ direction, baseline_mean, moving_average }: Alert): string {
  const way = direction === "down" ? "more negative" : "more positive";
  return `${way}: ${fixed(pointsOf(baseline_mean), 1)} → ${fixed(pointsOf(moving_average), 1)} points`;
}

/** "41 messages in 5 s, usually 10 (4.1 times as many)". */
export function volumeOf({ volume, window_s, usual_volume }: Alert): string {
  const messages = `${count(volume)} messages in ${window_s} s`;
  if (usual_volume == null) return messages;
  const ratio = usual_volume > 0 ? ` (${fixed(volume / usual_volume, 1)} times as many)` : "";
  return `${messages}, usually ${fixed(usual_volume, usual_volume < 10 ? 1 : 0)}${ratio}`;
}

/** Whether an alert is an alarm: open, with a source that is not muted. */
export function isAlarm({ closed_at, muted_until }: Alert): boolean {
  return !closed_at && !muted_until;
}

const BEFORE_S = 600;
const AFTER_S = 300;

/** The address of the page with this alert selected: its source, and its time with a margin before and after. */
export function addressOf({ id, source, started_at, closed_at }: Alert, now: number): string {
  const started = epoch(started_at);
  if (closed_at)
    return withFilters("/", {
      source,
      alert: id,
      from: started - BEFORE_S,
      to: Math.ceil(epoch(closed_at)) + AFTER_S,
    });
  const span = SPANS.find((each) => SPAN_S[each] >= now - started + AFTER_S) ?? "24h";
  return withFilters("/", { source, alert: id, span });
}

/** Alerts, the newest first; of one source, or of all sources if `source` is empty. */
export function newestAlerts(alerts: ReadonlyMap<string, Alert>, source: string): Alert[] {
  return [...alerts.values()]
    .filter((alert) => !source || alert.source === source)
    .sort((a, b) => Date.parse(b.detected_at) - Date.parse(a.detected_at) || a.id.localeCompare(b.id));
}

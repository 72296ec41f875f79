import { type Live, liveStore } from "@/api/live";
import { useNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { LIVE_S, SPAN_S } from "@/lib/spans";
import { useStore } from "@/lib/store";

/**
 * The chosen window of time, and whether the live socket holds it: up to ten minutes, of all or of a busy source.
 * While nothing new can be had it stands still, so that what is shown grows old but not empty.
 */
export function useWindow() {
  const [{ source, span, by }] = useFilters();
  const live = useStore(liveStore);
  const clock = useNow();
  const fresh = live.connection === "live" && live.away === null;
  const now = fresh || live.knownTo === null ? clock : Math.floor(live.knownTo);
  const seconds = SPAN_S[span];
  const isLive = seconds <= LIVE_S && holds(live, source);
  return {
    live,
    source,
    span,
    by,
    seconds,
    now,
    first: now - seconds + 1,
    isLive,
    isKnown: live.knownTo !== null,
  };
}

function holds({ cells }: Live, source: string): boolean {
  return !source || cells.has(source) || !cells.has("");
}

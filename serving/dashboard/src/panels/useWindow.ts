import { type Live, liveStore } from "@/api/live";
import { useNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { LIVE_S, type Period, periodOf, periodWords, secondsOf } from "@/lib/spans";
import { useStore } from "@/lib/store";

/**
 * The chosen window of time, and whether the live socket holds it: up to ten minutes, of all or of a busy source.
 * While nothing new can be had it stands still, so that what is shown grows old but not empty.
 */
export function useWindow() {
  const [filters, setFilters] = useFilters();
  const { source, by } = filters;
  const live = useStore(liveStore);
  const clock = useNow();
  const fresh = live.connection === "live" && live.away === null;
  const now = fresh || live.knownTo === null ? clock : Math.floor(live.knownTo);
  const period = usePeriod(clock);
  const seconds = secondsOf(period);
  const [first, last] = "span" in period ? [now - seconds + 1, now] : [period.from, period.to - 1];
  const isHeld = "span" in period ? seconds <= LIVE_S : period.from >= live.since && period.to <= now;
  return {
    live,
    source,
    by,
    period,
    words: periodWords(period),
    /** The last second that is known. */
    now,
    /** The first and the last second of the window. */
    first,
    last,
    isLive: isHeld && holds(live, source),
    isKnown: live.knownTo !== null,
    zoom: (from: number, to: number) => void setFilters({ from, to }),
  };
}

/** The chosen time. */
export function usePeriod(now: number): Period {
  const [{ span, from, to }] = useFilters();
  return periodOf({ span, from, to }, now);
}

function holds({ cells }: Live, source: string): boolean {
  return !source || cells.has(source) || !cells.has("");
}

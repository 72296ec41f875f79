import { useSyncExternalStore } from "react";
import { type Live, liveStore } from "@/api/live";
import { eachSecond, serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { LIVE_S, type Period, periodOf, periodWords, secondsOf } from "@/lib/spans";
import { useStore } from "@/lib/store";

/** The chosen time. While nothing new can be had it stands still, so that what is shown grows old but not empty. */
export function useTimes() {
  const [{ span, from, to }, setFilters] = useFilters();
  const now = useSyncExternalStore(eachSecond, lastKnownSecond, lastKnownSecond);
  const period: Period = periodOf({ span, from, to }, now);
  const [first, last] = "span" in period ? [now - secondsOf(period) + 1, now] : [period.from, period.to - 1];
  return {
    period,
    words: periodWords(period),
    /** The last second that is known. */
    now,
    /** The first and the last second of the time. */
    first,
    last,
    zoom: (start: number, end: number) => void setFilters({ from: start, to: end }),
  };
}

function lastKnownSecond(): number {
  const { connection, away, knownTo } = liveStore.get();
  const isFresh = connection === "live" && away === null;
  return Math.floor(isFresh || knownTo === null ? serverNow() : knownTo);
}

/** The chosen time and source, and the live data; it is drawn again with each frame of those. */
export function useWindow() {
  const [{ source, by }] = useFilters();
  const live = useStore(liveStore);
  const times = useTimes();
  const { period, now } = times;
  const isHeld =
    "span" in period ? secondsOf(period) <= LIVE_S : period.from >= live.since && period.to <= now;
  return {
    ...times,
    live,
    source,
    by,
    /** The live socket holds all of it: up to ten minutes, of all or of a busy source. */
    isLive: isHeld && holds(live, source),
    isKnown: live.knownTo !== null,
  };
}

function holds({ cells }: Live, source: string): boolean {
  return !source || cells.has(source) || !cells.has("");
}

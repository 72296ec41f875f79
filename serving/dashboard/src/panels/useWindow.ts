import { useSyncExternalStore } from "react";
import { type Live, liveStore } from "@/api/live";
import { eachSecond, serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { LIVE_S, type Period, periodOf, periodWords, secondsOf } from "@/lib/spans";
import { useStore } from "@/lib/store";

/** The chosen time. Its clock stops while no new data arrives, so that the page keeps showing the last data. */
export function useTimes() {
  const [{ span, from, to }, setFilters] = useFilters();
  const now = useSyncExternalStore(eachSecond, lastKnownSecond, lastKnownSecond);
  const period: Period = periodOf({ span, from, to }, now);
  const [first, last] = "span" in period ? [now - secondsOf(period) + 1, now] : [period.from, period.to - 1];
  return {
    period,
    words: periodWords(period),
    /** The last second with data. */
    now,
    /** The first and the last second of the period. */
    first,
    last,
    zoom: (start: number, end: number) => void setFilters({ from: start, to: end }),
  };
}

function lastKnownSecond(): number {
  const { connection, warehouseError, knownTo } = liveStore.get();
  const isFresh = connection === "live" && warehouseError === null;
  return Math.floor(isFresh || knownTo === null ? serverNow() : knownTo);
}

/** The chosen time and source, and the live data; the component renders again with each frame. */
export function useWindow() {
  const [{ source, by }] = useFilters();
  const live = useStore(liveStore);
  const times = useTimes();
  const { period, now } = times;
  const isInWindow =
    "span" in period ? secondsOf(period) <= LIVE_S : period.from >= live.since && period.to <= now;
  return {
    ...times,
    live,
    source,
    by,
    /** The live socket has all of the data: up to ten minutes, of all sources or of a busy one. */
    isLive: isInWindow && hasSource(live, source),
    isKnown: live.knownTo !== null,
  };
}

function hasSource({ cells }: Live, source: string): boolean {
  return !source || cells.has(source) || !cells.has("");
}

import type { Live } from "@/api/live";
import { epoch } from "./formats";
import { newestSecond } from "./windows";

/** Seconds without a message after which the stream counts as stopped. */
export const SILENT_S = 60;

export type Freshness =
  /** `empty`: connected, but no message within the window of the live socket. */
  | { state: "connecting" | "live" | "locked" | "empty" }
  /** `since`: the time up to which the data is complete, in epoch seconds; null before the first data. */
  | { state: "stale"; since: number | null; cause: string };

/** Seconds after the snapshot before the page counts as empty: the parts of a snapshot are read one after another. */
const GATHERING_S = 3;

type Known = Pick<Live, "connection" | "begunAt" | "warehouseError" | "knownTo" | "cells"> & {
  messages: readonly { event_at: string }[];
};

/** Whether the page shows current data. Statements about the present are made only in the state "live". */
export function freshnessOf(live: Known, warehouse: string | null, now: number): Freshness {
  if (live.connection === "stopped") return { state: "locked" };
  if (live.begunAt === null) return { state: "connecting" };
  if (live.connection !== "live")
    return { state: "stale", since: live.knownTo, cause: "cannot reach the service" };
  if (live.warehouseError !== null || warehouse !== null)
    return { state: "stale", since: live.knownTo, cause: "message database not running" };
  const at = newestOf(live);
  if (at === null && now - live.begunAt < GATHERING_S) return { state: "connecting" };
  if (at === null) return { state: "empty" };
  return now - at > SILENT_S ? { state: "stale", since: at, cause: "no new messages" } : { state: "live" };
}

/** Event time of the newest known message, in epoch seconds. */
export function newestOf({ messages, cells }: Pick<Known, "messages" | "cells">): number | null {
  const shown = messages[0] ? epoch(messages[0].event_at) : null;
  const counted = newestSecond(cells);
  return shown === null ? counted : Math.max(shown, counted ?? shown);
}

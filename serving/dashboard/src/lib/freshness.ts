import type { Live } from "@/api/live";
import { epoch } from "./formats";
import { newestSecond } from "./windows";

/** A stream without a message for so long has stopped. */
export const SILENT_S = 60;

export type Freshness =
  /** `empty`: connected, and without a message in the time that the socket holds. */
  | { state: "connecting" | "live" | "locked" | "empty" }
  /** `since`: up to when all is known, in epoch seconds; null where nothing ever was. */
  | { state: "stale"; since: number | null; cause: string };

/** After the snapshot: its parts are read one after the other. */
const GATHERING_S = 3;

type Known = Pick<Live, "connection" | "begunAt" | "away" | "knownTo" | "cells"> & {
  messages: readonly { event_at: string }[];
};

/** Whether what is shown is of now. Sentences about now are for "live" alone. */
export function freshnessOf(live: Known, warehouse: string | null, now: number): Freshness {
  if (live.connection === "stopped") return { state: "locked" };
  if (live.begunAt === null) return { state: "connecting" };
  if (live.connection !== "live")
    return { state: "stale", since: live.knownTo, cause: "cannot reach the service" };
  if (live.away !== null || warehouse !== null)
    return { state: "stale", since: live.knownTo, cause: "message database not running" };
  const at = newestOf(live);
  if (at === null && now - live.begunAt < GATHERING_S) return { state: "connecting" };
  if (at === null) return { state: "empty" };
  return now - at > SILENT_S ? { state: "stale", since: at, cause: "no new messages" } : { state: "live" };
}

/** When the newest message that is known was written, in epoch seconds. */
export function newestOf({ messages, cells }: Pick<Known, "messages" | "cells">): number | null {
  const shown = messages[0] ? epoch(messages[0].event_at) : null;
  const counted = newestSecond(cells);
  return shown === null ? counted : Math.max(shown, counted ?? shown);
}

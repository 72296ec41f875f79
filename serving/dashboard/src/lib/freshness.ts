import type { Live } from "@/api/live";
import { epoch } from "./formats";

/** A stream without a message for so long has stopped. */
export const SILENT_S = 60;

export type Freshness =
  | { state: "connecting" | "live" | "locked" }
  /** `since`: up to when all is known, in epoch seconds; null where nothing ever was. */
  | { state: "stale"; since: number | null; cause: string };

type Known = Pick<Live, "connection" | "begun" | "away" | "knownTo"> & {
  messages: readonly { event_at: string }[];
};

/** Whether what is shown is of now. Sentences about now are for "live" alone. */
export function freshnessOf(live: Known, warehouse: string | null, now: number): Freshness {
  if (live.connection === "stopped") return { state: "locked" };
  if (!live.begun) return { state: "connecting" };
  if (live.connection !== "live")
    return { state: "stale", since: live.knownTo, cause: "cannot reach the service" };
  if (live.away !== null || warehouse !== null)
    return { state: "stale", since: live.knownTo, cause: "message database not running" };
  const newest = live.messages[0];
  if (!newest) return { state: "stale", since: null, cause: "no messages" };
  const at = epoch(newest.event_at);
  return now - at > SILENT_S ? { state: "stale", since: at, cause: "no new messages" } : { state: "live" };
}

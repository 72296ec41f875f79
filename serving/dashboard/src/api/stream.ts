import { count, plural } from "@/lib/formats";
import type { Schemas } from "./client";
import { usePanel } from "./panels";

type Status = Schemas["StreamStatus"];

/** The status of the stream. The components of a page share one request. */
export function useStream(every = 5000) {
  return usePanel("stream", {}, { every });
}

/** Whether the lag is over its limit, so that new messages are shown late. */
export function catchingUp({ lag, drain_s, lag_limit, drain_limit_s }: Status): boolean {
  return lag !== null && (lag > lag_limit || (drain_s ?? 0) > drain_limit_s);
}

/** The state of the stream as text. */
export function stateWords({ state, detail }: Pick<Status, "state" | "detail">): string {
  const words = state === "not supervised" ? "not running" : state;
  return detail ? `${words}: ${detail}` : words;
}

const PLANNED = ["within the limits", "the first"];

/** How many of the planned workers run: "1 worker, as planned". */
export function workersWords({ target, reason, workers }: Status): string {
  const running = workers.filter(({ state }) => state === "running").length;
  if (running === target && PLANNED.includes(reason)) return `${plural(running, "worker")}, as planned`;
  const why = reason && !PLANNED.includes(reason) ? ` (${reason})` : "";
  return `${running} of ${plural(target ?? 0, "worker")} running${why}`;
}

/** Notices that the stream carried out, by kind: "12 delete, 1 user suspend". */
export function noticesWords(notices: Status["notices"]): string {
  const kinds = Object.entries(notices ?? {}).map(
    ([kind, number]) => `${count(number)} ${kind.replaceAll("_", " ")}`,
  );
  return kinds.join(", ") || "deletions and the like";
}

/** How many notices there were of all kinds; null if that is not known. */
export function allNotices(notices: Status["notices"]): number | null {
  return notices && Object.values(notices).reduce((sum, number) => sum + number, 0);
}

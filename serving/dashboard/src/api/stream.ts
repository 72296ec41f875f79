import { plural } from "@/lib/formats";
import type { Schemas } from "./client";
import { usePanel } from "./panels";

type Status = Schemas["StreamStatus"];

/** How the stream stands; one request serves all of a page that ask for it. */
export function useStream(every = 5000) {
  return usePanel("stream", {}, { every });
}

/** Whether so many messages wait that what arrives now is shown late. */
export function catchingUp({ lag, drain_s, lag_limit, drain_limit_s }: Status): boolean {
  return lag !== null && (lag > lag_limit || (drain_s ?? 0) > drain_limit_s);
}

/** The state of the stream in words. */
export function stateWords({ state, detail }: Pick<Status, "state" | "detail">): string {
  const words = state === "not supervised" ? "not running" : state;
  return detail ? `${words}: ${detail}` : words;
}

const PLANNED = ["within the limits", "the first"];

/** How many workers run, of how many: "1 worker, as planned". */
export function workersWords({ target, reason, workers }: Status): string {
  const running = workers.filter(({ state }) => state === "running").length;
  if (running === target && PLANNED.includes(reason)) return `${plural(running, "worker")}, as planned`;
  const why = reason && !PLANNED.includes(reason) ? ` (${reason})` : "";
  return `${running} of ${plural(target ?? 0, "worker")} running${why}`;
}

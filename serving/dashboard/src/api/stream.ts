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

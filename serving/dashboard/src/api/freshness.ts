import { useNow } from "@/lib/clock";
import { type Freshness, freshnessOf } from "@/lib/freshness";
import { useStore } from "@/lib/store";
import { healthStore } from "./health";
import { liveStore } from "./live";

/** Instead of what is not known: that it is on its way, or that it cannot be had. */
export function useAbsent(): string {
  return useFreshness().state === "stale" ? "Not available." : "Loading.";
}

/** Whether what the page shows of messages is of now; looked at each second. */
export function useFreshness(): Freshness {
  const live = useStore(liveStore);
  const { warehouse } = useStore(healthStore);
  return freshnessOf(live, warehouse, useNow());
}

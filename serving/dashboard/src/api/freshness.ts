import { useNow } from "@/lib/clock";
import { type Freshness, freshnessOf } from "@/lib/freshness";
import { useStore } from "@/lib/store";
import { healthStore } from "./health";
import { liveStore } from "./live";

/** The text in place of a value that is not known: loading, or not available. */
export function usePlaceholder(): string {
  return useFreshness().state === "stale" ? "Not available." : "Loading.";
}

/** Whether the messages on the page are current; checked every second. */
export function useFreshness(): Freshness {
  const live = useStore(liveStore);
  const { warehouse } = useStore(healthStore);
  return freshnessOf(live, warehouse, useNow());
}

import { useNow } from "@/lib/clock";
import { type Freshness, freshnessOf } from "@/lib/freshness";
import { useStore } from "@/lib/store";
import { healthStore } from "./health";
import { liveStore } from "./live";

/** Whether what the page shows of messages is of now; looked at each second. */
export function useFreshness(): Freshness {
  const live = useStore(liveStore);
  const { warehouse } = useStore(healthStore);
  return freshnessOf(live, warehouse, useNow());
}

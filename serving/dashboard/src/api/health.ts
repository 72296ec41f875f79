import { createStore } from "@/lib/store";

/** What stands between this page and its numbers. */
export interface Health {
  /** Why the service does not answer; null where it does. */
  service: string | null;
  /** Why the warehouse does not answer; null where it does. */
  warehouse: string | null;
  /** The service's words when it refused us for want of a key; null where it did not. */
  keyWanted: string | null;
}

export const healthStore = createStore<Health>({ service: null, warehouse: null, keyWanted: null });

export function report(news: Partial<Health>): void {
  const before = healthStore.get();
  const changed = (Object.keys(news) as (keyof Health)[]).some((name) => news[name] !== before[name]);
  if (changed) healthStore.set({ ...before, ...news });
}

import { createStore } from "@/lib/store";

/** Why the page may lack current data. */
export interface Health {
  /** Why the service does not respond; null if it does. */
  service: string | null;
  /** Why the warehouse does not respond; null if it does. */
  warehouse: string | null;
  /** The service's message when it rejected the key or asked for one; null if it did not. */
  keyError: string | null;
}

export const healthStore = createStore<Health>({ service: null, warehouse: null, keyError: null });

export function report(changes: Partial<Health>): void {
  const before = healthStore.get();
  const changed = (Object.keys(changes) as (keyof Health)[]).some((name) => changes[name] !== before[name]);
  if (changed) healthStore.set({ ...before, ...changes });
}

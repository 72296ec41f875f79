import { createStore } from "@/lib/store";

const NAME = "groundswell.key";

/** The key that this browser tab was given, or null. */
export const keyStore = createStore<string | null>(
  typeof window === "undefined" ? null : sessionStorage.getItem(NAME),
);

export function keepKey(key: string): void {
  sessionStorage.setItem(NAME, key);
  keyStore.set(key);
}

export function forgetKey(): void {
  sessionStorage.removeItem(NAME);
  keyStore.set(null);
}

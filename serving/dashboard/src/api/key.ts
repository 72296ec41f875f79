import { createStore } from "@/lib/store";

const NAME = "groundswell.key";

/** The API key of this browser tab, or null. */
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

import { createStore } from "./store";

const NAME = "groundswell.profanity";

/** Whether swear words are masked in the texts that are shown. Kept in this browser. */
export const maskStore = createStore<boolean>(
  typeof window === "undefined" || localStorage.getItem(NAME) !== "shown",
);

export function maskProfanityIn(masked: boolean): void {
  localStorage.setItem(NAME, masked ? "masked" : "shown");
  maskStore.set(masked);
}

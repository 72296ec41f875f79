import { createStore } from "./store";

const NAME = "groundswell.profanity";

/** Whether profanity is masked in the texts on the page. Stored in this browser. */
export const maskStore = createStore<boolean>(
  typeof window === "undefined" || localStorage.getItem(NAME) !== "shown",
);

export function maskProfanityIn(masked: boolean): void {
  localStorage.setItem(NAME, masked ? "masked" : "shown");
  maskStore.set(masked);
}

import { useSyncExternalStore } from "react";

let ahead = 0;

/** Set the time of the server; all times on the page follow its clock. */
export function setServerClock(epochSeconds: number): void {
  ahead = epochSeconds - Date.now() / 1000;
}

/** Epoch seconds by the server's clock. */
export function serverNow(): number {
  return Date.now() / 1000 + ahead;
}

const wholeSecond = () => Math.floor(serverNow());

/** Call the listener often enough that no second is missed. */
export function eachSecond(listener: () => void): () => void {
  const timer = setInterval(listener, 500);
  return () => clearInterval(timer);
}

/** The server's current second; the component renders again every second. */
export function useNow(): number {
  return useSyncExternalStore(eachSecond, wholeSecond, wholeSecond);
}

"use client";

import { liveStore } from "@/api/live";
import { useStore } from "@/lib/store";

const WORDS = {
  connecting: "connecting…",
  live: "live",
  reconnecting: "reconnecting…",
  stopped: "stopped: a key is wanted",
};

/** How the live connection stands, in words. */
export function Connection() {
  const { connection } = useStore(liveStore);
  return (
    <span
      className={`connection ${connection}`}
      data-testid="connection"
      data-state={connection}
      role="status"
    >
      <span className="pulse" aria-hidden="true" />
      {WORDS[connection]}
    </span>
  );
}

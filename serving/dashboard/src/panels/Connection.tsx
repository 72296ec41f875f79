"use client";

import { useFreshness } from "@/api/freshness";
import { timeOf } from "@/lib/formats";
import type { Freshness } from "@/lib/freshness";

/** Whether the page shows current data; if not, since when and why. */
export function Connection() {
  const fresh = useFreshness();
  const cause = fresh.state === "stale" ? fresh.cause : "";
  return (
    <span
      className={`connection ${fresh.state}`}
      data-testid="connection"
      data-state={fresh.state}
      role="status"
      title={cause}
    >
      <span className="pulse" aria-hidden="true" />
      <span>
        {wordsOf(fresh)}
        {cause && <span className="cause">: {cause}</span>}
      </span>
    </span>
  );
}

function wordsOf(fresh: Freshness): string {
  if (fresh.state === "stale") return fresh.since === null ? "stale" : `stale since ${timeOf(fresh.since)}`;
  return { connecting: "connecting…", live: "live", locked: "key required", empty: "live, no messages" }[
    fresh.state
  ];
}

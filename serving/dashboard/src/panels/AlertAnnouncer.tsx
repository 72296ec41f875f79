"use client";

import { useEffect, useRef, useState } from "react";
import { liveStore } from "@/api/live";
import { useStore } from "@/lib/store";
import { isAlarm, shiftOf } from "./alertWords";

/** Announces alerts to screen readers when they open while the page is shown. */
export function AlertAnnouncer() {
  const { alerts, begunAt } = useStore(liveStore);
  const known = useRef<Set<string>>(null);
  const [words, setWords] = useState("");
  useEffect(() => {
    if (begunAt === null) return;
    const opened = known.current && [...alerts.values()].filter(({ id }) => !known.current?.has(id));
    known.current = new Set([...(known.current ?? []), ...alerts.keys()]);
    const alarms = opened?.filter(isAlarm);
    if (alarms?.length)
      setWords(alarms.map((alert) => `New alert: ${alert.source}, ${shiftOf(alert)}.`).join(" "));
  }, [alerts, begunAt]);
  return (
    <div className="unseen" aria-live="assertive" data-testid="announcer">
      {words}
    </div>
  );
}

"use client";

import { useEffect, useRef, useState } from "react";
import { liveStore } from "@/api/live";
import { useStore } from "@/lib/store";
import { isAlarm, shiftOf } from "./alertWords";

/** Tells a screen reader of alerts that open while the page is looked at. */
export function AlertAnnouncer() {
  const { alerts, begunAt } = useStore(liveStore);
  const known = useRef<Set<string>>(null);
  const [words, setWords] = useState("");
  useEffect(() => {
    if (begunAt === null) return;
    const news = known.current && [...alerts.values()].filter(({ id }) => !known.current?.has(id));
    known.current = new Set([...(known.current ?? []), ...alerts.keys()]);
    const alarms = news?.filter(isAlarm);
    if (alarms?.length)
      setWords(alarms.map((alert) => `New alert: ${alert.source}, ${shiftOf(alert)}.`).join(" "));
  }, [alerts, begunAt]);
  return (
    <div className="unseen" aria-live="assertive" data-testid="announcer">
      {words}
    </div>
  );
}

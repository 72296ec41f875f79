"use client";

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { acknowledge, mute } from "@/api/alerts";
import { errorMessage } from "@/api/client";
import type { Alert } from "@/api/live";
import { Select } from "@/ui/Select";

const NAME = "groundswell.name";
const MUTES = [
  { value: "15", words: "15 minutes" },
  { value: "60", words: "1 hour" },
  { value: "480", words: "8 hours" },
  { value: "1440", words: "24 hours" },
] as const;

/** Controls to acknowledge an alert, or to mute its source for some time. All viewers see the change. */
export function AlertActions({ alert }: { alert: Alert }) {
  const [by, setBy] = useState(() => localStorage.getItem(NAME) ?? "");
  const [minutes, setMinutes] = useState<(typeof MUTES)[number]["value"]>("60");
  const acting = useMutation({ mutationFn: (act: () => Promise<unknown>) => act() });
  const name = by.trim();
  const run = (act: () => Promise<unknown>) => {
    localStorage.setItem(NAME, name);
    acting.mutate(act);
  };
  const isDisabled = !name || acting.isPending;
  return (
    <details className="acting">
      <summary>Acknowledge or mute</summary>
      <div className="row">
        <label className="field">
          <span>Your name</span>
          <input
            value={by}
            maxLength={200}
            autoComplete="nickname"
            onChange={(event) => setBy(event.target.value)}
          />
        </label>
        {!alert.acknowledged_at && (
          <button
            type="button"
            disabled={isDisabled}
            onClick={() => run(() => acknowledge(alert.id, { by: name }))}
          >
            Acknowledge
          </button>
        )}
        {alert.muted_until ? (
          <button
            type="button"
            disabled={isDisabled}
            onClick={() => run(() => mute(alert.id, { by: name, minutes: 0 }))}
          >
            Unmute {alert.source}
          </button>
        ) : (
          <>
            <Select name="For" value={minutes} options={MUTES} onChange={setMinutes} />
            <button
              type="button"
              disabled={isDisabled}
              onClick={() => run(() => mute(alert.id, { by: name, minutes: Number(minutes) }))}
            >
              Mute {alert.source}
            </button>
          </>
        )}
      </div>
      <p className="note" role="status">
        {acting.error
          ? `Not done: ${errorMessage(acting.error)}`
          : name
            ? "A muted source notifies no webhook and raises no alarm here; its alerts are still recorded."
            : "Enter your name first; all viewers see it."}
      </p>
    </details>
  );
}

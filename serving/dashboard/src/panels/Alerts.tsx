"use client";

import { useAbsent } from "@/api/freshness";
import type { Alert } from "@/api/live";
import { useNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { count, duration, epoch, fixed, when } from "@/lib/formats";
import { pointsOf } from "@/lib/points";
import { MessageText } from "@/ui/MessageText";
import { Panel } from "@/ui/Panel";
import { ScrollBox } from "@/ui/ScrollBox";
import { type Column, rowsOfTable } from "@/ui/Table";
import { newestAlerts, shiftOf } from "./alertWords";
import { useWindow } from "./useWindow";

const COLUMNS: readonly Column<Alert>[] = [
  { head: "id", value: ({ id }) => id },
  { head: "source", value: ({ source }) => source },
  { head: "direction", value: ({ direction }) => direction },
  { head: "started", value: ({ started_at }) => started_at },
  { head: "detected", value: ({ detected_at }) => detected_at },
  { head: "closed", value: ({ closed_at }) => closed_at },
  { head: "points before", value: ({ baseline_mean }) => pointsOf(baseline_mean) },
  { head: "points after", value: ({ moving_average }) => pointsOf(moving_average) },
  { head: "z", value: ({ z }) => z },
  { head: "messages", value: ({ volume }) => volume },
  { head: "texts", value: ({ texts }) => (texts ?? []).join("\n") },
];

/** Sudden shifts, newest first, as they open and close. */
export function Alerts() {
  const { live, source, isKnown } = useWindow();
  const absent = useAbsent();
  const alerts = newestAlerts(live.alerts, source);
  return (
    <Panel
      name="alerts"
      title="Alerts"
      note="Sudden shifts of a source in the last 24 hours, newest first."
      csv={{ file: "alerts-24h", raw: true, rows: () => rowsOfTable(COLUMNS, alerts) }}
    >
      {alerts.length ? (
        <ScrollBox label="Alerts, newest first" tall>
          <ul className="cards">
            {alerts.map((alert) => (
              <AlertCard key={alert.id} alert={alert} />
            ))}
          </ul>
        </ScrollBox>
      ) : (
        <p className="plain">{isKnown ? "No alert in the last 24 hours." : absent}</p>
      )}
    </Panel>
  );
}

function AlertCard({ alert }: { alert: Alert }) {
  const now = useNow();
  const [{ source }, setFilters] = useFilters();
  const started = epoch(alert.started_at);
  const open = !alert.closed_at;
  const tone = alert.direction === "down" ? "negative" : "positive";
  return (
    <li
      className={`card ${tone} ${open ? "open" : ""}`}
      data-testid="alert-card"
      data-alert-id={alert.id}
      data-open={open}
    >
      <h3>
        <span aria-hidden="true">{alert.direction === "down" ? "▼" : "▲"}</span> {alert.source}
        <span className={open ? "tag open" : "tag"}>{open ? "open" : "closed"}</span>
      </h3>
      <p>{shiftOf(alert)}</p>
      <p className="quiet">
        {open
          ? `since ${when(started, now)}, ${duration(now - started)}`
          : `from ${when(started, now)}, lasted ${duration(epoch(alert.closed_at ?? alert.started_at) - started)}`}
        {` · z ${fixed(alert.z, 1).replace("-", "−")} · ${count(alert.volume)} messages in ${alert.window_s} s`}
      </p>
      {alert.texts?.length ? (
        <ul className="texts">
          {[...new Set(alert.texts)].map((text) => (
            <li key={text}>
              <MessageText text={text} />
            </li>
          ))}
        </ul>
      ) : null}
      {source !== alert.source && (
        <button type="button" className="small" onClick={() => setFilters({ source: alert.source })}>
          Show {alert.source}
        </button>
      )}
    </li>
  );
}

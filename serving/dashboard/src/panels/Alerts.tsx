"use client";

import { useEffect, useRef } from "react";
import { useAlert } from "@/api/alerts";
import { errorMessage } from "@/api/client";
import { usePlaceholder } from "@/api/freshness";
import type { Alert } from "@/api/live";
import { useNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { duration, epoch, fixed, percent, when } from "@/lib/formats";
import { pointsOf } from "@/lib/points";
import { MessageText } from "@/ui/MessageText";
import { Panel } from "@/ui/Panel";
import { ScrollBox } from "@/ui/ScrollBox";
import { type Column, rowsOfTable } from "@/ui/Table";
import { AlertActions } from "./AlertActions";
import { addressOf, newestAlerts, shiftOf, volumeOf } from "./alertWords";
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
  { head: "usual messages", value: ({ usual_volume }) => usual_volume ?? null },
  { head: "window in seconds", value: ({ window_s }) => window_s },
  { head: "words", value: ({ words }) => (words ?? []).map(({ word }) => word).join(" ") },
  { head: "acknowledged by", value: ({ acknowledged_by }) => acknowledged_by ?? null },
  { head: "muted", value: ({ muted }) => String(muted) },
  { head: "texts", value: ({ texts }) => (texts ?? []).join("\n") },
];

/** Alerts of the last 24 hours, newest first; an older alert that the address selects comes first. */
export function Alerts() {
  const { live, source, isKnown } = useWindow();
  const placeholder = usePlaceholder();
  const [{ alert: selected }] = useFilters();
  const recent = newestAlerts(live.alerts, source);
  const isOlder = selected !== "" && isKnown && !live.alerts.has(selected);
  const older = useAlert(selected, isOlder);
  const alerts = isOlder && older.data ? [older.data, ...recent] : recent;
  return (
    <Panel
      name="alerts"
      title="Alerts"
      note={alerts.length ? "Sudden shifts of a source in the last 24 hours, newest first." : undefined}
      csv={
        alerts.length
          ? { file: "alerts-24h", raw: true, rows: () => rowsOfTable(COLUMNS, alerts) }
          : undefined
      }
    >
      {isOlder && older.error && (
        <p className="note">
          Alert {selected} cannot be shown: {errorMessage(older.error)}
        </p>
      )}
      {alerts.length ? (
        <ScrollBox label="Alerts, newest first" tall>
          <ul className="cards">
            {alerts.map((alert) => (
              <AlertCard key={alert.id} alert={alert} isSelected={alert.id === selected} />
            ))}
          </ul>
        </ScrollBox>
      ) : (
        <p className="quiet">{isKnown ? "No alert in the last 24 hours." : placeholder}</p>
      )}
    </Panel>
  );
}

function AlertCard({ alert, isSelected }: { alert: Alert; isSelected: boolean }) {
  const now = useNow();
  const [{ source }, setFilters] = useFilters();
  const card = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isSelected) card.current?.scrollIntoView({ block: "nearest" });
  }, [isSelected]);
  const started = epoch(alert.started_at);
  const open = !alert.closed_at;
  const tone = alert.direction === "down" ? "negative" : "positive";
  return (
    <li
      ref={card}
      className={`card ${tone} ${open ? "open" : ""} ${alert.muted_until ? "muted" : ""}`}
      aria-current={isSelected || undefined}
      data-testid="alert-card"
      data-alert-id={alert.id}
      data-open={open}
    >
      <h3>
        <span aria-hidden="true">{alert.direction === "down" ? "▼" : "▲"}</span> {alert.source}
        <span className="tags">
          {(alert.muted || alert.muted_until) && <span className="tag">muted</span>}
          {alert.acknowledged_at && <span className="tag good">acknowledged</span>}
          <span className={open ? "tag open" : "tag"}>{open ? "open" : "closed"}</span>
        </span>
      </h3>
      <p>{shiftOf(alert)}</p>
      <p className="quiet">
        {open
          ? `since ${when(started, now)}, ${duration(now - started)}`
          : `from ${when(started, now)}, lasted ${duration(epoch(alert.closed_at ?? alert.started_at) - started)}`}
        {` · z ${fixed(alert.z, 1).replace("-", "−")}`}
      </p>
      <Drivers alert={alert} />
      {alert.acknowledged_at && (
        <p className="quiet">
          Acknowledged by {alert.acknowledged_by}, {when(epoch(alert.acknowledged_at), now)}
        </p>
      )}
      {alert.muted_until && (
        <p className="quiet">
          {alert.source} muted until {when(epoch(alert.muted_until), now)} by {alert.muted_by}
        </p>
      )}
      <p className="links">
        {source !== alert.source && (
          <button type="button" className="small" onClick={() => setFilters({ source: alert.source })}>
            Show {alert.source}
          </button>
        )}
        <a href={addressOf(alert, now)}>Link to this alert</a>
      </p>
      <AlertActions alert={alert} />
    </li>
  );
}

/** What drives the change: the number of messages, frequent words, and example texts. */
function Drivers({ alert }: { alert: Alert }) {
  const texts = [...new Set(alert.texts ?? [])];
  return (
    <>
      <h4>What drives the change</h4>
      <p className="quiet" data-testid="alert-volume">
        {volumeOf(alert)}
      </p>
      {alert.words?.length ? (
        <ul className="words" aria-label="Words that are more frequent than usual">
          {alert.words.map(({ word, share, usual_share }) => (
            <li key={word}>
              <strong>{word}</strong>{" "}
              <span className="quiet">
                {percent(share)}, usually {percent(usual_share, usual_share && usual_share < 0.01 ? 1 : 0)}
              </span>
            </li>
          ))}
        </ul>
      ) : null}
      {texts.length ? (
        <ul className="texts">
          {texts.map((text) => (
            <li key={text}>
              <MessageText text={text} />
            </li>
          ))}
        </ul>
      ) : null}
    </>
  );
}

"use client";

import { useMemo } from "react";
import { usePlaceholder } from "@/api/freshness";
import type { Live, Normal } from "@/api/live";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { epoch, fixed, timeOf } from "@/lib/formats";
import {
  AVERAGE_S,
  type By,
  cellsOf,
  extent,
  type Lines,
  latest,
  liveLines,
  pastBand,
  pastLines,
} from "@/lib/lines";
import { STEP_S, secondsOf } from "@/lib/spans";
import { rowsOfChart } from "@/ui/csv";
import { EmptyChart } from "@/ui/EmptyChart";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";
import { newestAlerts } from "./alertWords";
import { HEIGHT, TrendChart } from "./TrendChart";
import { useWindow } from "./useWindow";

const TITLES: Record<By, string> = {
  "": "Sentiment over time",
  label: "Share of each label over time",
  source: "Sentiment of the busiest sources",
};
const SECONDS_UP_TO_S = 600;
/** Seconds for which alerts come with the live data; older ones are requested. */
const LIVE_ALERTS_S = 86_400;

/** Sentiment over time. */
export function Trend() {
  const { live, source, by, period, words, first, last, now, isLive, isKnown, zoom } = useWindow();
  const placeholder = usePlaceholder();
  const [{ axis }, setFilters] = useFilters();
  const query = { source, ...(by === "source" && { by }) };
  // Values of each second are a moving average, so the seconds before the first one are requested too.
  const before = secondsOf(period) <= SECONDS_UP_TO_S ? AVERAGE_S : 0;
  const stored = usePanel("trend", query, { period, before, every: 5000, enabled: !isLive });
  const normals = by === "" && isLive ? normalsOf(live, source) : undefined;
  const lines = useMemo(() => {
    if (isLive) return liveLines(live, by, source, first, last, normals);
    const { rows = [], every = "minute" } = stored.data ?? {};
    if (every !== "second") return pastLines(rows, by, STEP_S[every]);
    const past = liveLines({ cells: cellsOf(rows, source), since: first - AVERAGE_S }, by, "", first, last);
    return by === "" ? { ...past, ...pastBand(rows, past.times) } : past;
  }, [live, isLive, by, source, first, last, normals, stored.data]);
  const isOlder = first < now - LIVE_ALERTS_S;
  const older = usePanel("alerts", { source, limit: 1000 }, { period, every: 30_000, enabled: isOlder });
  const alerts = new Map(
    [...(isOlder ? (older.data?.rows ?? []) : []), ...live.alerts.values()].map((alert) => [alert.id, alert]),
  );
  const inSight = newestAlerts(alerts, source).filter(
    ({ started_at, closed_at }) => epoch(started_at) <= last && (!closed_at || epoch(closed_at) >= first),
  );
  const isEmpty = lines.lines.every(({ values }) => latest(values) === null);
  const fits = axis === "fit" && by !== "label";
  const chart = isEmpty ? (
    <EmptyChart words={!isLive || isKnown ? "No messages in this time." : placeholder} height={HEIGHT} />
  ) : (
    <TrendChart
      lines={lines}
      by={by}
      range={[first, last]}
      now={now}
      fits={fits}
      alerts={inSight}
      label={wordsOf(lines, by, inSight.length)}
      onZoom={zoom}
    />
  );
  const every = isLive ? "second" : (stored.data?.every ?? "minute");
  return (
    <Panel
      name="trend"
      title={TITLES[by]}
      note={noteOf(
        by,
        every,
        lines.band !== undefined && latest(lines.band.low) !== null,
        source,
        words,
        fits,
      )}
      actions={
        by !== "label" && (
          <button
            type="button"
            className="small"
            aria-pressed={fits}
            onClick={() => setFilters({ axis: fits ? "" : "fit" })}
          >
            {fits ? "Show 0 to 100" : "Zoom the axis"}
          </button>
        )
      }
      csv={{ file: "trend", rows: () => rowsOfChart(...table(lines)) }}
    >
      {isLive ? chart : <QueryContent query={stored}>{() => chart}</QueryContent>}
    </Panel>
  );
}

/** The normal ranges of the chosen source, or of the only source. */
function normalsOf({ normals, cells }: Live, source: string): readonly Normal[] | undefined {
  const [first, ...others] = cells.keys();
  const only = source || (others.length === 0 && first) || "";
  return normals[only];
}

function noteOf(
  by: By,
  every: string,
  banded: boolean,
  source: string,
  words: string,
  fits: boolean,
): string {
  const grain = every === "second" ? `mean of ${AVERAGE_S} s` : `mean of each ${every}`;
  const what = by === "label" ? "percent of the messages" : "0 is all negative, 100 all positive";
  const band = banded
    ? ` The band is the normal range at that time, for ${source || "this source"} and its number of messages.`
    : by
      ? ""
      : source
        ? " Not enough history for a normal band."
        : " Choose a source to see its normal band.";
  return `${capital(words)}, ${grain}; ${what}.${fits ? " The axis is zoomed." : ""} Alerts are shaded.${band}`;
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function wordsOf({ times, lines }: Lines, by: By, alerts: number): string {
  const [from, to] = [times[0], times.at(-1)];
  if (from === undefined || to === undefined) return "No messages in this time.";
  const unit = by === "label" ? "percent" : "points";
  const each = lines.map(({ name, values }) => {
    const [low, high] = extent([values]) ?? [null, null];
    return `${name} last ${fixed(latest(values), 1)} ${unit}, lowest ${fixed(low, 1)}, highest ${fixed(high, 1)}`;
  });
  const marked = alerts === 1 ? "1 alert" : `${alerts} alerts`;
  return `From ${timeOf(from)} to ${timeOf(to)}: ${each.join("; ") || "no messages"}. ${marked} marked.`;
}

function table({ times, lines, raw, band }: Lines): Parameters<typeof rowsOfChart> {
  const more = {
    ...(raw && { "each second": raw }),
    ...(band && { "normal from": band.low, "normal to": band.high }),
  };
  const names = ["time", ...lines.map(({ name }) => name), ...Object.keys(more)];
  return [names, [times, ...lines.map(({ values }) => values), ...Object.values(more)]];
}

"use client";

import { useMemo } from "react";
import type { Live, Normal } from "@/api/live";
import { usePanel } from "@/api/panels";
import { epoch, fixed, timeOf } from "@/lib/formats";
import { type By, extent, type Lines, latest, liveLines, pastLines } from "@/lib/lines";
import { bucketOf, SPAN_WORDS } from "@/lib/spans";
import { Answer } from "@/ui/Answer";
import { rowsOfChart } from "@/ui/csv";
import { Nothing } from "@/ui/Nothing";
import { Panel } from "@/ui/Panel";
import { newestAlerts } from "./alertWords";
import { TrendChart } from "./TrendChart";
import { useWindow } from "./useWindow";

const TITLES: Record<By, string> = {
  "": "Sentiment over time",
  label: "Share of each label over time",
  source: "Sentiment of the busiest sources",
};

/** How what is said changes. */
export function Trend() {
  const { live, source, span, by, seconds, now, first, isLive, isKnown } = useWindow();
  const { every } = bucketOf(span);
  const query = { source, every, ...(by === "source" && { by }) };
  const asked = usePanel("trend", query, { seconds, every: 5000, enabled: !isLive });
  const normals = by === "" && isLive ? normalsOf(live, source) : undefined;
  const lines = useMemo(
    () => (isLive ? liveLines(live, by, source, first, now, normals) : pastLines(asked.data?.rows ?? [], by)),
    [live, isLive, by, source, first, now, normals, asked.data],
  );
  const alerts = newestAlerts(live.alerts, source);
  const inSight = alerts.filter(({ closed_at }) => !closed_at || epoch(closed_at) >= first);
  const isEmpty = lines.lines.every(({ values }) => latest(values) === null);
  const chart = isEmpty ? (
    <Nothing words={!isLive || isKnown ? "No messages in this time." : "Not known yet."} />
  ) : (
    <TrendChart
      lines={lines}
      by={by}
      range={[first, now]}
      alerts={inSight}
      label={wordsOf(lines, by, inSight.length)}
    />
  );
  return (
    <Panel
      name="trend"
      title={TITLES[by]}
      note={noteOf(
        by,
        isLive,
        every,
        lines.band !== undefined && latest(lines.band.low) !== null,
        source,
        SPAN_WORDS[span],
      )}
      csv={{ file: `trend-${span}`, rows: () => rowsOfChart(...table(lines)) }}
    >
      {isLive ? chart : <Answer query={asked}>{() => chart}</Answer>}
    </Panel>
  );
}

/** Of the chosen source, or of the only one. */
function normalsOf({ normals, cells }: Live, source: string): readonly Normal[] | undefined {
  const [first, ...others] = cells.keys();
  const only = source || (others.length === 0 && first) || "";
  return normals[only];
}

function noteOf(
  by: By,
  isLive: boolean,
  every: string,
  banded: boolean,
  source: string,
  span: string,
): string {
  const what = by === "label" ? "Percent of the messages" : "0 is all negative, 100 all positive";
  const grain = isLive ? "a moving average of 30 seconds" : `the average of each ${every}`;
  const start = `The ${span}. ${what}; ${grain}. Alerts are shaded.`;
  if (by) return start;
  if (banded)
    return `${start} The band is what was normal then, for ${source || "this source"} and its number of messages.`;
  return `${start} ${source ? "Not enough history for a normal band." : "Choose a source to see its normal band."}`;
}

function wordsOf({ times, lines }: Lines, by: By, alerts: number): string {
  const [from, to] = [times[0], times.at(-1)];
  if (from === undefined || to === undefined) return "No messages in this time.";
  const unit = by === "label" ? "percent" : "points";
  const each = lines.map(({ name, values }) => {
    const [low, high] = extent([values]) ?? [null, null];
    return `${name} now ${fixed(latest(values), 1)} ${unit}, lowest ${fixed(low, 1)}, highest ${fixed(high, 1)}`;
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

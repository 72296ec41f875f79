"use client";

import { useMemo } from "react";
import uPlot from "uplot";
import { usePanel } from "@/api/panels";
import { compact, count, epoch, timeOf } from "@/lib/formats";
import { bucketOf, SPAN_WORDS } from "@/lib/spans";
import { perSecond } from "@/lib/windows";
import { Answer } from "@/ui/Answer";
import { numberAxis, timeAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { rowsOfChart } from "@/ui/csv";
import { timeCursor } from "@/ui/cursor";
import { Nothing } from "@/ui/Nothing";
import { Panel } from "@/ui/Panel";
import type { Theme } from "@/ui/theme";
import { useWindow } from "./useWindow";

const HEIGHT = 150;

/** How much is said. */
export function Volume() {
  const { live, source, span, seconds, now, first, isLive, isKnown } = useWindow();
  const { every } = bucketOf(span);
  const asked = usePanel("volume", { source, every }, { seconds, every: 5000, enabled: !isLive });
  const data = useMemo((): [number[], number[]] => {
    if (!isLive) {
      const rows = asked.data?.rows ?? [];
      return [rows.map((row) => epoch(row.bucket)), rows.map((row) => row.messages)];
    }
    const counts = perSecond(live.cells, source, first, now).map(({ messages }) => messages);
    return [counts.map((_, at) => first + at), counts];
  }, [live, source, first, now, isLive, asked.data]);
  const chart = data[1].every((messages) => messages === 0) ? (
    <Nothing words={!isLive || isKnown ? "No messages in this time." : "Not known yet."} />
  ) : (
    <Chart
      name="volume"
      label={wordsOf(...data, every)}
      data={data}
      options={options}
      height={HEIGHT}
      range={[first, now]}
    />
  );
  return (
    <Panel
      name="volume"
      title="Messages over time"
      note={`The ${SPAN_WORDS[span]}, in each ${every}.`}
      csv={{ file: `volume-${span}`, rows: () => rowsOfChart(["time", "messages"], data) }}
    >
      {isLive ? chart : <Answer query={asked}>{() => chart}</Answer>}
    </Panel>
  );
}

function wordsOf(times: number[], counts: number[], every: string): string {
  const [from, to] = [times[0], times.at(-1)];
  if (from === undefined || to === undefined) return "No messages in this time.";
  const most = counts.reduce((high, value) => Math.max(high, value), 0);
  const all = counts.reduce((sum, value) => sum + value, 0);
  return `From ${timeOf(from)} to ${timeOf(to)}: ${count(all)} messages, at most ${count(most)} in a ${every}.`;
}

function options(theme: Theme): Omit<uPlot.Options, "width" | "height"> {
  return {
    series: [
      {
        value: (_, at) => (at == null ? "–" : new Date(at * 1000).toLocaleTimeString("en-GB")),
        label: "time",
      },
      {
        label: "messages",
        stroke: theme.neutral,
        fill: theme.neutral,
        width: 0,
        paths: uPlot.paths.bars?.({ size: [0.8, 40], align: 1 }),
        points: { show: false },
        value: (_, found) => (found == null ? "–" : count(found)),
      },
    ],
    axes: [timeAxis(theme), { ...numberAxis(theme, compact), space: 28 }],
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, Math.max(4, high * 1.1)] } },
    cursor: timeCursor,
  };
}

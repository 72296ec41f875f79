"use client";

import { useCallback, useMemo } from "react";
import uPlot from "uplot";
import { usePlaceholder } from "@/api/freshness";
import { usePanel } from "@/api/panels";
import { clipOf } from "@/lib/axes";
import { compact, count, epoch, timeOf, when } from "@/lib/formats";
import { filled } from "@/lib/lines";
import { STEP_S } from "@/lib/spans";
import { perSecond } from "@/lib/windows";
import { numberAxis, timeAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { rowsOfChart } from "@/ui/csv";
import { timeCursor } from "@/ui/cursor";
import { EmptyChart } from "@/ui/EmptyChart";
import type { LegendItem } from "@/ui/Legend";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";
import type { Theme } from "@/ui/theme";
import { useWindow } from "./useWindow";

const HEIGHT = 150;
/** The newest seconds, which are not complete in the warehouse yet. */
const NOT_YET_S = 2;
type Data = [number[], number[]];

/** The number of messages over time. */
export function Volume() {
  const { live, source, period, words, first, last, now, isLive, isKnown, zoom } = useWindow();
  const placeholder = usePlaceholder();
  const stored = usePanel("volume", { source }, { period, every: 5000, enabled: !isLive });
  const every = isLive ? "second" : (stored.data?.every ?? "minute");
  const data = useMemo((): Data => {
    if (isLive) {
      const counts = perSecond(live.cells, source, first, last).map(({ messages }) => messages);
      return [counts.map((_, at) => first + at), counts];
    }
    const byTime = new Map((stored.data?.rows ?? []).map((row) => [epoch(row.bucket), row.messages]));
    const times = filled([...byTime.keys()], STEP_S[every]);
    return [times, times.map((time) => byTime.get(time) ?? 0)];
  }, [live, source, first, last, isLive, every, stored.data]);
  const clip = clipOf(data[1]);
  const draw = useCallback((chart: uPlot, theme: Theme) => mark(chart, theme, data, clip), [data, clip]);
  const drawn = useMemo(
    (): Data => [data[0], clip === null ? data[1] : data[1].map((value) => Math.min(value, clip))],
    [data, clip],
  );
  const legend = (at: number | null, theme: Theme): LegendItem[] => {
    const index = at ?? data[0].length - 1 - (isLive ? NOT_YET_S : 1); // the last bucket is not complete yet
    return [
      { name: at === null ? "last, at" : "at", value: when(data[0][index] ?? now, now) },
      { name: `messages in a ${every}`, value: count(data[1][index]), color: theme.neutral, kind: "area" },
    ];
  };
  const chart = data[1].every((messages) => messages === 0) ? (
    <EmptyChart words={!isLive || isKnown ? "No messages in this time." : placeholder} height={HEIGHT} />
  ) : (
    <Chart
      name="volume"
      label={wordsOf(...data, every)}
      data={drawn}
      options={options}
      height={HEIGHT}
      range={[first, last]}
      under={draw}
      legend={legend}
      onZoom={zoom}
    />
  );
  return (
    <Panel
      name="volume"
      title="Messages over time"
      note={`Per ${every}, ${words}.${clip === null ? "" : ` ▲ Bars over ${count(clip)} are cut; their value is written above.`}`}
      csv={{ file: "volume", rows: () => rowsOfChart(["time", "messages"], data) }}
    >
      {isLive ? chart : <QueryContent query={stored}>{() => chart}</QueryContent>}
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
      {},
      {
        label: "messages",
        stroke: theme.neutral,
        fill: theme.neutral,
        width: 0,
        paths: uPlot.paths.bars?.({ size: [0.8, 40], align: 1 }),
        points: { show: false },
      },
    ],
    axes: [timeAxis(theme), { ...numberAxis(theme, compact), space: 28 }],
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, Math.max(4, high * 1.15)] } },
    cursor: timeCursor,
  };
}

/** Draw an arrow and the value where a bar is cut. */
function mark(chart: uPlot, theme: Theme, [times, counts]: Data, clip: number | null): void {
  if (clip === null) return;
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.fillStyle = theme.ink;
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  for (const [at, value] of counts.entries()) {
    const time = times[at];
    if (value <= clip || time === undefined) continue;
    const x = chart.valToPos(time, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const words = `▲ ${compact(value)}`;
    const fits = x + 6 * ratio + ctx.measureText(words).width < bbox.left + bbox.width;
    ctx.textAlign = fits ? "left" : "right";
    ctx.fillText(words, x + (fits ? 6 : -3) * ratio, bbox.top);
  }
  ctx.restore();
}

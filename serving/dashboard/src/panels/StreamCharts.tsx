"use client";

import { useEffect, useMemo, useState } from "react";
import type uPlot from "uplot";
import type { Schemas } from "@/api/client";
import { compact, count, rounded, timeOf } from "@/lib/formats";
import { latest } from "@/lib/lines";
import { numberAxis, timeAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { rowsOfChart } from "@/ui/csv";
import { timeCursor } from "@/ui/cursor";
import { Nothing } from "@/ui/Nothing";
import { Panel } from "@/ui/Panel";
import type { Theme } from "@/ui/theme";

type Look = Pick<Schemas["StreamStatus"], "at" | "lag" | "rate" | "arriving">;

const HEIGHT = 180;
const KEPT = 3600;
const LEAST_S = 60;

/** Lag and rate since the page was opened. */
export function StreamCharts({ stream }: { stream: Schemas["StreamStatus"] | undefined }) {
  const looks = useLooks(stream);
  const [lag, rate] = useMemo((): [uPlot.AlignedData, uPlot.AlignedData] => {
    const times = looks.map(({ at }) => at);
    return [
      [times, looks.map((look) => look.lag)],
      [times, looks.map((look) => look.rate), looks.map((look) => look.arriving)],
    ];
  }, [looks]);
  const last = looks.at(-1);
  const to = last?.at ?? 0;
  const range: [number, number] = [Math.min(looks[0]?.at ?? 0, to - LEAST_S), to];
  const since = looks[0]
    ? `Since ${timeOf(looks[0].at)}, when this view was opened.`
    : "Since this view was opened.";
  return (
    <>
      <Panel
        name="lag"
        title="Messages behind"
        note={since}
        csv={{ file: "lag", rows: () => rowsOfChart(["time", "lag"], lag) }}
      >
        {latest(looks.map((look) => look.lag)) === null ? (
          <Nothing words="Not known yet: the broker has not said." />
        ) : (
          <Chart
            name="lag"
            label={`${since} ${count(last?.lag)} behind now.`}
            data={lag}
            options={lagOptions}
            height={HEIGHT}
            range={range}
          />
        )}
      </Panel>
      <Panel
        name="rate"
        title="Messages a second"
        note={since}
        csv={{ file: "rate", rows: () => rowsOfChart(["time", "judged", "arriving"], rate) }}
      >
        {latest(looks.map((look) => look.rate)) === null ? (
          <Nothing words="Not known: no supervisor measures it." />
        ) : (
          <Chart
            name="rate"
            label={`${since} Now ${rounded(last?.rate)} judged and ${rounded(last?.arriving)} arriving a second.`}
            data={rate}
            options={rateOptions}
            height={HEIGHT}
            range={range}
          />
        )}
      </Panel>
    </>
  );
}

function useLooks(stream: Look | undefined): Look[] {
  const [looks, setLooks] = useState<Look[]>([]);
  useEffect(() => {
    if (!stream) return;
    const { at, lag, rate, arriving } = stream;
    setLooks((before) =>
      (before.at(-1)?.at ?? 0) < at ? [...before.slice(1 - KEPT), { at, lag, rate, arriving }] : before,
    );
  }, [stream]);
  return looks;
}

function line(label: string, stroke: string, dash?: number[]): uPlot.Series {
  return {
    label,
    stroke,
    dash,
    width: 2,
    points: { show: false },
    value: (_, found) => (found == null ? "–" : rounded(found)),
  };
}

function overTime(theme: Theme, lines: uPlot.Series[]): Omit<uPlot.Options, "width" | "height"> {
  return {
    series: [{ label: "time", value: (_, at) => (at == null ? "–" : timeOf(at)) }, ...lines],
    axes: [timeAxis(theme), numberAxis(theme, compact)],
    scales: {
      x: { time: true },
      y: { range: (_, __, high) => [0, Math.max(10, high * 1.1)] },
    },
    cursor: timeCursor,
  };
}

const lagOptions = (theme: Theme) => overTime(theme, [line("behind", theme.accent)]);
const rateOptions = (theme: Theme) =>
  overTime(theme, [line("judged", theme.accent), line("arriving", theme.quiet, [6, 4])]);

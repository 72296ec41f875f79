"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { bytes, compact, count, duration, fixed } from "@/lib/formats";
import { processLines, stepsOf } from "@/lib/history";
import { TimeChart } from "@/ui/TimeChart";
import { useTimes } from "./useWindow";

interface Props {
  history: UseQueryResult<Schemas["StreamHistory"]>;
  stream: Schemas["StreamStatus"] | undefined;
}

const EMPTY = "Not measured (stream not running in this time).";
const NONE: Schemas["StreamHistory"] = { since: "", until: "", step_s: 1, rows: [] };
const cores = (value: number | null | undefined) => fixed(value, 2);

/** Lag, rates, CPU and memory over the chosen time, measured by the supervisor. */
export function HistoryCharts({ history, stream }: Props) {
  const { words, first, last, zoom } = useTimes();
  const data = history.data ?? NONE;
  const { times, rows } = useMemo(() => stepsOf(data), [data]);
  const lines = useMemo(
    () => ({
      lag: [{ name: "lag", values: rows.map((row) => row?.lag ?? null) }],
      rate: [
        { name: "classified", values: rows.map((row) => row?.rate ?? null) },
        { name: "arriving", values: rows.map((row) => row?.arriving ?? null) },
      ],
      cpu: processLines(rows, "cpu"),
      memory: processLines(rows, "rss_bytes"),
    }),
    [rows],
  );
  const lagLimit = stream?.lag_limit;
  const limit = useMemo(
    () => (lagLimit === undefined ? undefined : { at: lagLimit, words: `limit ${count(lagLimit)}` }),
    [lagLimit],
  );
  const step = `, ${words}, in steps of ${duration(data.step_s).replace(".0", "")}.`;
  const range: [number, number] = [first, last];
  const shared = { times, range, empty: EMPTY, onZoom: zoom };
  return (
    <>
      <TimeChart
        {...shared}
        name="lag"
        title="Consumer lag"
        note={`Waiting messages, the highest of each step${step}`}
        lines={lines.lag}
        format={compact}
        least={10}
        limit={limit}
      />
      <TimeChart
        {...shared}
        name="rate"
        title="Messages per second"
        note={`Means${step}`}
        lines={lines.rate}
        format={compact}
        least={10}
      />
      <TimeChart
        {...shared}
        name="cpu"
        title="CPU"
        note={`Cores used by each process, means${step}`}
        lines={lines.cpu}
        format={cores}
        least={0.5}
      />
      <TimeChart
        {...shared}
        name="memory"
        title="Memory"
        note={`Resident memory of each process, the highest${step}`}
        lines={lines.memory}
        format={bytes}
        least={64 * 1024 * 1024}
      />
    </>
  );
}

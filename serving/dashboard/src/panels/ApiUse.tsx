"use client";

import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { useModel } from "@/api/model";
import { usePanel } from "@/api/panels";
import { bucket, compact, count, dateOf, duration, fixed, lean, percent, rounded, usd } from "@/lib/formats";
import { type Period, secondsOf } from "@/lib/spans";
import type { Meaning } from "@/lib/thresholds";
import { Figures } from "@/ui/Figures";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";
import { TimeChart } from "@/ui/TimeChart";
import { useTimes } from "./useWindow";

/** Requests, latency and cost of this service's API. */
export function ApiUse() {
  const { period, words } = useTimes();
  const query = usePanel("api", {}, { period, open: true, every: 2000 });
  const model = useModel().data;
  const cost = model?.cost.usd_per_million_texts ?? null;
  const deadline = model?.limits.deadline_ms ?? null;
  const data = query.data;
  const csv = () => {
    if (!data) return [];
    const { rows: _, p50, p99, ...counts } = data;
    return [
      { ...counts, "p50 (ms)": p50?.ms ?? null, "p99 (ms)": p99?.ms ?? null, usd_per_million_texts: cost },
    ];
  };
  return (
    <>
      <Panel
        name="api"
        title="API"
        note={data && coverage(data.seconds, period, words)}
        csv={{ file: "api", rows: csv }}
      >
        <QueryContent query={query}>
          {(use) => <Figures figures={figuresOf(use, cost, deadline)} />}
        </QueryContent>
      </Panel>
      <Requests use={data} />
    </>
  );
}

function coverage(seconds: number, period: Period, words: string): string {
  const routes = "Requests to classify, jobs, results and feedback";
  if ("from" in period)
    return `${routes}, from ${dateOf(period.from)} until now, ${duration(seconds)} in all.`;
  if (seconds < secondsOf(period) - 15)
    return `${routes}, since this service started, ${duration(seconds)} ago.`;
  return `${routes}, ${words}.`;
}

function Requests({ use }: { use: Schemas["ApiUse"] | undefined }) {
  const { words, first, last, zoom } = useTimes();
  const times = useMemo(() => (use?.rows ?? []).map(({ at }) => at), [use]);
  const lines = useMemo(
    () => [
      { name: "requests", values: (use?.rows ?? []).map((row) => row.requests_per_s) },
      { name: "texts", values: (use?.rows ?? []).map((row) => row.texts_per_s) },
    ],
    [use],
  );
  return (
    <TimeChart
      name="requests"
      title="API requests per second"
      note={`Requests and texts, ${words}; counting began when this service started.`}
      times={times}
      lines={lines}
      range={[first, last]}
      format={compact}
      least={1}
      empty="Nothing measured yet."
      onZoom={zoom}
    />
  );
}

function rate({ requests, seconds }: Schemas["ApiUse"]): string {
  const perSecond = seconds ? requests / seconds : 0;
  return perSecond > 0 && perSecond < 0.1 ? "under 0.1" : lean(perSecond);
}

function figuresOf(use: Schemas["ApiUse"], cost: number | null, deadline: number | null) {
  const texts = use.texts + use.cached;
  const late: Meaning | null =
    use.p99 && deadline
      ? use.p99.ms > deadline
        ? { tone: "bad", words: `over the deadline of ${duration(deadline / 1000)}` }
        : { tone: "good", words: `deadline ${duration(deadline / 1000)}` }
      : null;
  return [
    {
      name: "Requests",
      value: count(use.requests),
      unit: `${rate(use)} per second`,
    },
    {
      name: "Failed",
      value: count(use.failed),
      unit: "status 5xx",
      meaning: use.failed ? { tone: "bad", words: "see the log" } : { tone: "good", words: "none" },
    },
    {
      name: "Rejected",
      value: count(use.rejected),
      unit: "overload, missing key, rate limit",
      meaning: use.rejected
        ? { tone: "warn", words: "requests were rejected" }
        : { tone: "good", words: "none" },
    },
    { name: "p50", value: bucket(use.p50), unit: "of /v1/classify (histogram bucket)" },
    { name: "p99", value: bucket(use.p99), unit: "of /v1/classify (histogram bucket)", meaning: late },
    { name: "Texts classified", value: count(use.texts), unit: `in ${count(use.batches)} batches` },
    { name: "Texts per batch", value: fixed(use.texts_per_batch, 1), unit: "mean" },
    {
      name: "From the cache",
      value: percent(texts ? use.cached / texts : null),
      unit: `${count(use.cached)} texts`,
    },
    { name: "CPU per text", value: rounded(use.cpu_us_per_text), unit: "µs, mean" },
    { name: "Cost per million texts", value: usd(cost), unit: "since this service started" },
  ] satisfies { name: string; value: string; unit: string; meaning?: Meaning | null }[];
}

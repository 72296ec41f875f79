"use client";

import type { Schemas } from "@/api/client";
import { useModel } from "@/api/model";
import { usePanel } from "@/api/panels";
import { count, duration, fixed, lean, percent, rounded, usd } from "@/lib/formats";
import { Answer } from "@/ui/Answer";
import { Figures } from "@/ui/Figures";
import { Panel } from "@/ui/Panel";

/** What this service did for its callers. */
export function ApiUse() {
  const query = usePanel("api", {}, { every: 2000 });
  const cost = useModel().data?.cost.usd_per_million_texts ?? null;
  return (
    <Panel
      name="api"
      title="API"
      note={query.data && `The last ${duration(query.data.seconds)} of this service.`}
      csv={{ file: "api", rows: () => (query.data ? [{ ...query.data, usd_per_million_texts: cost }] : []) }}
    >
      <Answer query={query}>{(use) => <Figures figures={figuresOf(use, cost)} />}</Answer>
    </Panel>
  );
}

function figuresOf(use: Schemas["ApiUse"], cost: number | null) {
  const asked = use.texts + use.cached;
  return [
    {
      name: "requests",
      value: count(use.requests),
      unit: `${lean(use.seconds ? use.requests / use.seconds : null)} a second`,
    },
    { name: "failed", value: count(use.failed), unit: "answered with 5xx" },
    { name: "shed", value: count(use.shed), unit: "too busy, no key, over the rate" },
    { name: "texts judged", value: count(use.texts), unit: `in ${count(use.batches)} batches` },
    { name: "texts a batch", value: fixed(use.texts_per_batch, 1), unit: "mean" },
    {
      name: "from the cache",
      value: percent(asked ? use.cached / asked : null),
      unit: `${count(use.cached)} texts`,
    },
    { name: "p50", value: lean(use.p50_ms), unit: "ms at most" },
    { name: "p99", value: lean(use.p99_ms), unit: "ms at most" },
    { name: "CPU", value: rounded(use.cpu_us_per_text), unit: "µs a text" },
    { name: "a million texts", value: usd(cost), unit: "since its start" },
  ];
}

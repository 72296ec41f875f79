"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import dynamic from "next/dynamic";
import { useState } from "react";
import type { Schemas } from "@/api/client";
import { count, microseconds, usd } from "@/lib/formats";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";

const Card = dynamic(() => import("./Card"), { loading: () => <p className="plain">Loading…</p> });

interface Props {
  query: UseQueryResult<Schemas["Production"]>;
  model: UseQueryResult<Schemas["ModelShown"]>;
}

/** The model that this service uses, and its model card. */
export function Production({ query, model }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <Panel name="production" title="Production model" note="Served by this service at /v1/classify.">
      <QueryContent query={model}>
        {({ version, alias, cost, quantization, max_length }) => (
          <dl className="facts">
            <Fact name="version" value={<code>{version}</code>} />
            <Fact name="alias" value={alias ?? "none"} />
            <Fact name="quantization" value={quantization} />
            <Fact name="reads at once" value={`${count(max_length)} tokens`} />
            <Fact name="mean CPU per text" value={microseconds(cost.cpu_us_per_text)} />
            <Fact name="cost per million texts" value={usd(cost.usd_per_million_texts)} />
            <Fact name="texts since its start" value={count(cost.texts)} />
          </dl>
        )}
      </QueryContent>
      <QueryContent query={query}>
        {({ card, mlflow_url, dagster_url }) => (
          <>
            <p className="links">
              <a href={`${mlflow_url}/#/models/sentiment?workflowType=machine_learning`}>
                Versions in MLflow
              </a>
              <a href={`${dagster_url}/assets`}>Pipeline in Dagster</a>
            </p>
            <details onToggle={(event) => setOpen(event.currentTarget.open)}>
              <summary>Model card</summary>
              {open && <Card text={card} />}
            </details>
          </>
        )}
      </QueryContent>
    </Panel>
  );
}

function Fact({ name, value }: { name: string; value: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

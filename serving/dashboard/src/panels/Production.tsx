"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import dynamic from "next/dynamic";
import { useState } from "react";
import type { Schemas } from "@/api/client";
import { useModel } from "@/api/model";
import { count, dateOf, epoch, rounded, usd } from "@/lib/formats";
import { Answer } from "@/ui/Answer";
import { Panel } from "@/ui/Panel";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

const Card = dynamic(() => import("./Card"), { loading: () => <p className="plain">Loading…</p> });

type Query = UseQueryResult<Schemas["Production"]>;
type Move = Schemas["Move"];

/** Which model answers here, its card, and how it came to answer. */
export function Production({ query }: { query: Query }) {
  return (
    <>
      <Answering query={query} />
      <History query={query} />
    </>
  );
}

function Answering({ query }: { query: Query }) {
  const model = useModel();
  const [open, setOpen] = useState(false);
  return (
    <Panel name="production" title="What answers here" note="The model behind this service's /v1/classify.">
      <Answer query={model}>
        {({ version, alias, cost }) => (
          <dl className="facts">
            <Fact name="version" value={<code>{version}</code>} />
            <Fact name="alias" value={alias ?? "none"} />
            <Fact name="CPU µs a text" value={rounded(cost.cpu_us_per_text)} />
            <Fact name="a million texts" value={usd(cost.usd_per_million_texts)} />
            <Fact name="judged since its start" value={count(cost.texts)} />
          </dl>
        )}
      </Answer>
      <Answer query={query}>
        {({ card, mlflow_url, dagster_url }) => (
          <>
            <p className="links">
              <a href={`${mlflow_url}/#/models/sentiment`}>Versions in MLflow</a>
              <a href={`${dagster_url}/assets`}>How they are made, in Dagster</a>
            </p>
            <details onToggle={(event) => setOpen(event.currentTarget.open)}>
              <summary>Model card</summary>
              {open && <Card text={card} />}
            </details>
          </>
        )}
      </Answer>
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

const COLUMNS: readonly Column<Move>[] = [
  { head: "when", value: ({ at }) => at, show: ({ at }) => <time>{dateOf(epoch(at))}</time> },
  { head: "alias", value: ({ alias }) => alias },
  {
    head: "from → to",
    value: ({ from_version, to_version }) => `${from_version ?? "none"} → ${to_version ?? "none"}`,
  },
  { head: "bundle", value: ({ bundle }) => bundle, show: ({ bundle }) => <code>{bundle}</code> },
  {
    head: "why",
    value: ({ reason }) => reason,
    show: ({ reason }) => <span className="text">{reason}</span>,
    wide: true,
  },
  { head: "gate", value: ({ gate }) => gate },
];

function History({ query }: { query: Query }) {
  return (
    <QueryTable
      name="history"
      title="Who held an alias, and why"
      note="Every move, newest first."
      file="history"
      query={query}
      rowsOf={({ moves }) => moves}
      columns={COLUMNS}
      keyOf={({ at, alias }) => `${at} ${alias}`}
      marked={({ alias }) => alias === "production"}
      flows
      empty="No alias was moved on this machine yet."
    />
  );
}

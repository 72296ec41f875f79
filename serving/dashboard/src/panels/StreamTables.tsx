"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { count, duration, fixed, rounded } from "@/lib/formats";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

interface Props {
  query: UseQueryResult<Schemas["StreamStatus"]>;
}

const WORKERS: readonly Column<Schemas["Worker"]>[] = [
  { head: "worker", value: (row) => row.name, show: (row) => <strong>{row.name}</strong> },
  { head: "state", value: (row) => (row.detail ? `${row.state}: ${row.detail}` : row.state) },
  { head: "model", value: (row) => row.version, show: (row) => <code>{row.version || "–"}</code> },
  { head: "partitions", value: (row) => row.partitions.join(" ") },
  {
    head: "a second",
    value: (row) => row.messages_per_s,
    show: (row) => rounded(row.messages_per_s),
    number: true,
  },
  { head: "judged", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  { head: "in flight", value: (row) => row.in_flight, show: (row) => count(row.in_flight), number: true },
  { head: "p50 ms", value: (row) => row.p50_ms, show: (row) => fixed(row.p50_ms, 1), number: true },
  { head: "p99 ms", value: (row) => row.p99_ms, show: (row) => fixed(row.p99_ms, 1), number: true },
  {
    head: "dead letters",
    value: (row) => row.dead_letters,
    show: (row) => count(row.dead_letters),
    number: true,
  },
  { head: "restarts", value: (row) => row.restarts, show: (row) => count(row.restarts), number: true },
  { head: "last exit", value: (row) => row.last_exit },
  { head: "silent", value: (row) => row.silent_s, show: (row) => duration(row.silent_s), number: true },
];

export function Workers({ query }: Props) {
  return (
    <QueryTable
      name="workers"
      title="Workers"
      file="workers"
      query={query}
      rowsOf={({ workers }) => workers}
      columns={WORKERS}
      keyOf={({ name }) => name}
      empty="No worker runs. Start the stream: groundswell stream up"
    />
  );
}

const PARTITIONS: readonly Column<Schemas["Partition"]>[] = [
  { head: "partition", value: (row) => row.partition, number: true },
  { head: "lag", value: (row) => row.lag, show: (row) => <strong>{count(row.lag)}</strong>, number: true },
  { head: "committed", value: (row) => row.committed, show: (row) => count(row.committed), number: true },
  { head: "end", value: (row) => row.end, show: (row) => count(row.end), number: true },
  { head: "worker", value: (row) => row.worker },
  { head: "stalled", value: (row) => (row.stalled ? "stalled" : "no") },
];

export function Partitions({ query }: Props) {
  return (
    <QueryTable
      name="partitions"
      title="Partitions"
      file="partitions"
      query={query}
      rowsOf={({ partitions }) => partitions}
      columns={PARTITIONS}
      keyOf={({ partition }) => `${partition}`}
      marked={({ stalled }) => stalled}
      empty="The broker tells of none."
    />
  );
}

const PROCESSES: readonly Column<Schemas["Process"]>[] = [
  { head: "process", value: (row) => row.name, show: (row) => <strong>{row.name}</strong> },
  { head: "state", value: (row) => row.state },
  { head: "restarts", value: (row) => row.restarts, number: true },
  { head: "last exit", value: (row) => row.last_exit },
];

export function Processes({ query }: Props) {
  return (
    <QueryTable
      name="processes"
      title="Other processes"
      note="What the supervisor runs beside the workers."
      file="processes"
      query={query}
      rowsOf={({ others }) => others}
      columns={PROCESSES}
      keyOf={({ name }) => name}
      empty="None runs."
    />
  );
}

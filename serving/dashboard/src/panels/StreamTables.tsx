"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { bytes, count, duration, fixed, milliseconds, rounded } from "@/lib/formats";
import { heartbeatMeaning, type Meaning } from "@/lib/thresholds";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";
import { Tone } from "@/ui/Tone";

interface Props {
  query: UseQueryResult<Schemas["StreamStatus"]>;
}

const WORKERS: readonly Column<Schemas["Worker"]>[] = [
  { head: "worker", value: (row) => row.name, show: (row) => <strong>{row.name}</strong> },
  { head: "state", value: (row) => (row.detail ? `${row.state}: ${row.detail}` : row.state) },
  {
    head: "model",
    value: (row) => row.version,
    show: (row) => <code>{row.version ? <Name of={row.version} /> : "–"}</code>,
  },
  {
    head: "operating point",
    value: (row) => (row.point === "base" ? "" : row.point),
    show: (row) => <code>{row.point || "–"}</code>,
    hidden: "empty",
  },
  { head: "partitions", value: (row) => row.partitions.join(" ") },
  {
    head: "per second",
    value: (row) => row.messages_per_s,
    show: (row) => rounded(row.messages_per_s),
    number: true,
  },
  { head: "classified", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  { head: "in flight", value: (row) => row.in_flight, show: (row) => count(row.in_flight), number: true },
  {
    head: "p50",
    unit: "ms",
    value: (row) => row.p50_ms,
    show: (row) => milliseconds(row.p50_ms),
    number: true,
  },
  {
    head: "p99",
    unit: "ms",
    value: (row) => row.p99_ms,
    show: (row) => milliseconds(row.p99_ms),
    number: true,
  },
  {
    head: "dead letters",
    value: (row) => row.dead_letters,
    show: (row) => count(row.dead_letters),
    number: true,
  },
  { head: "CPU", unit: "cores", value: (row) => row.cpu, show: (row) => fixed(row.cpu, 2), number: true },
  {
    head: "memory",
    unit: "bytes",
    value: (row) => row.rss_bytes,
    show: (row) => bytes(row.rss_bytes),
    number: true,
  },
  { head: "restarts", value: (row) => row.restarts, show: (row) => count(row.restarts), number: true },
  { head: "last exit", value: (row) => row.last_exit, hidden: "empty" },
  {
    head: "last heartbeat",
    unit: "s ago",
    value: (row) => row.silent_s,
    show: (row) => <Heartbeat {...row} />,
  },
];

const ENDED = ["stopped", "failed", "gone"];

function Heartbeat({ silent_s: silent, state }: Schemas["Worker"]) {
  const meaning = heartbeatMeaning(silent);
  if (silent === null || !meaning) return "–";
  if (ENDED.includes(state)) return `${duration(silent)} ago`;
  // Heartbeats come every second: the exact age of a recent one is not useful.
  return (
    <Tone
      of={
        meaning.tone === "good" ? meaning : { ...meaning, words: `${meaning.words}, ${duration(silent)} ago` }
      }
    />
  );
}

export function Workers({ query }: Props) {
  return (
    <QueryTable
      name="workers"
      title="Workers"
      note="p50 and p99: from the broker's timestamp to written in the message database, of the last 60 s."
      file="workers"
      query={query}
      rowsOf={({ workers }) => workers}
      columns={WORKERS}
      keyOf={({ name }) => name}
      flows
      empty="No worker is running. Start the stream: groundswell stream up"
    />
  );
}

const PARTITIONS: readonly Column<Schemas["Partition"]>[] = [
  { head: "partition", value: (row) => row.partition },
  { head: "lag", value: (row) => row.lag, show: (row) => <strong>{count(row.lag)}</strong>, number: true },
  { head: "committed", value: (row) => row.committed, show: (row) => count(row.committed), number: true },
  { head: "end", value: (row) => row.end, show: (row) => count(row.end), number: true },
  { head: "worker", value: (row) => row.worker },
  {
    head: "state",
    value: (row) => partitionMeaning(row).words,
    show: (row) => <Tone of={partitionMeaning(row)} />,
  },
];

function partitionMeaning({ stalled, worker, lag }: Schemas["Partition"]): Meaning {
  if (stalled) return { tone: "bad", words: "stalled" };
  return lag && worker === null ? { tone: "warn", words: "no worker" } : { tone: "good", words: "ok" };
}

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
      empty="No partitions reported."
    />
  );
}

const PROCESSES: readonly Column<Schemas["Process"]>[] = [
  { head: "process", value: (row) => row.name, show: (row) => <strong>{row.name}</strong> },
  {
    head: "state",
    value: (row) => row.state,
    show: ({ state }) => <Tone of={{ tone: state === "up" ? "good" : "bad", words: state }} />,
  },
  {
    head: "CPU",
    unit: "cores",
    value: (row) => row.cpu ?? null,
    show: (row) => fixed(row.cpu, 2),
    number: true,
  },
  {
    head: "memory",
    unit: "bytes",
    value: (row) => row.rss_bytes ?? null,
    show: (row) => bytes(row.rss_bytes),
    number: true,
  },
  { head: "restarts", value: (row) => row.restarts, number: true },
  { head: "last exit", value: (row) => row.last_exit, hidden: "empty" },
];

export function Processes({ query }: Props) {
  return (
    <QueryTable
      name="processes"
      title="Other processes"
      note="Run by the supervisor next to the workers."
      file="processes"
      query={query}
      rowsOf={({ others }) => others}
      columns={PROCESSES}
      keyOf={({ name }) => name}
      empty="No other process is running."
    />
  );
}

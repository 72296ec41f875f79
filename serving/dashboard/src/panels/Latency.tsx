"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { count, fixed } from "@/lib/formats";
import { SPAN_S, SPAN_WORDS } from "@/lib/spans";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

const COLUMNS: readonly Column<Schemas["LatencyRow"]>[] = [
  { head: "topic", value: (row) => row.topic, show: (row) => <code>{row.topic}</code> },
  { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  { head: "p50 s", value: (row) => row.p50_s, show: (row) => fixed(row.p50_s, 3), number: true },
  { head: "p95 s", value: (row) => row.p95_s, show: (row) => fixed(row.p95_s, 3), number: true },
  { head: "p99 s", value: (row) => row.p99_s, show: (row) => fixed(row.p99_s, 3), number: true },
  {
    head: "newest, s ago",
    value: (row) => row.newest_s,
    show: (row) => fixed(row.newest_s, 1),
    number: true,
  },
];

/** How long a message takes until it can be asked for. */
export function Latency() {
  const [{ span }] = useFilters();
  const query = usePanel("latency", {}, { seconds: SPAN_S[span], every: 5000 });
  return (
    <QueryTable
      name="latency"
      title="Latency"
      note={`From the broker to the warehouse, of what arrived in the ${SPAN_WORDS[span]}.`}
      file={`latency-${span}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={COLUMNS}
      keyOf={({ topic }) => topic}
      empty="Nothing arrived in this time."
    />
  );
}

"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { catchingUp, useStream } from "@/api/stream";
import { count, duration } from "@/lib/formats";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

type Row = Schemas["LatencyRow"];

function time(head: string, of: (row: Row) => number): Column<Row> {
  return { head, unit: "s", value: of, show: (row) => duration(of(row)), number: true };
}

const COLUMNS: readonly Column<Row>[] = [
  {
    head: "topic",
    value: (row) => row.topic,
    show: (row) => (
      <code>
        <Name of={row.topic} />
      </code>
    ),
  },
  { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  time("p50", (row) => row.p50_s),
  time("p95", (row) => row.p95_s),
  time("p99", (row) => row.p99_s),
  {
    head: "newest",
    unit: "s ago",
    value: (row) => row.newest_s,
    show: (row) => `${duration(row.newest_s)} ago`,
    number: true,
  },
];

/** Time from the broker to the warehouse. Always of the last minute: an old backlog is no measure of the current latency. */
export function Latency() {
  const query = usePanel("latency", {}, { period: { span: "1m" }, every: 5000 });
  const stream = useStream().data;
  const late = stream && catchingUp(stream) ? " Catching up: these include the time in the queue." : "";
  return (
    <QueryTable
      name="latency"
      title="Latency, last 60 s"
      note={`From the broker's timestamp to written in the message database.${late}`}
      file="latency-1m"
      query={query}
      rowsOf={({ rows }) => rows}
      columns={COLUMNS}
      keyOf={({ topic }) => topic}
      empty="No message arrived in the last 60 s."
    />
  );
}

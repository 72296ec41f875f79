"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { epoch, percent, when } from "@/lib/formats";
import { SPAN_S, SPAN_WORDS } from "@/lib/spans";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

const COLUMNS: readonly Column<Schemas["NegativeRow"]>[] = [
  {
    head: "time",
    value: (row) => row.event_at,
    show: (row) => <time>{when(epoch(row.event_at), serverNow())}</time>,
  },
  { head: "source", value: (row) => row.source, show: (row) => <span className="source">{row.source}</span> },
  {
    head: "confidence",
    value: (row) => row.confidence,
    show: (row) => percent(row.confidence, 1),
    number: true,
  },
  {
    head: "text",
    value: (row) => row.text,
    show: (row) => <span className="text">{row.text}</span>,
    wide: true,
  },
];

/** What is surest to be negative. */
export function TopNegative() {
  const [{ source, span }] = useFilters();
  const query = usePanel("top_negative", { source, limit: 10 }, { seconds: SPAN_S[span], every: 5000 });
  return (
    <QueryTable
      name="top_negative"
      title="Most negative messages"
      note={`The ten of the ${SPAN_WORDS[span]} that the model is surest of.`}
      file={`top_negative-${span}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={COLUMNS}
      keyOf={(row) => row.id + row.event_at}
      tall
      flows
      empty="No negative message in this time."
    />
  );
}

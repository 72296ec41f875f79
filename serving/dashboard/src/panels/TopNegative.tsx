"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { duration, epoch, percent, when } from "@/lib/formats";
import { periodName, secondsOf } from "@/lib/spans";
import { MessageText } from "@/ui/MessageText";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";
import { useTimes } from "./useWindow";

const SHOWN = 10;
const LEAST_HALF_LIFE_S = 30;

const COLUMNS: readonly Column<Schemas["NegativeRow"]>[] = [
  {
    head: "time",
    value: (row) => row.event_at,
    show: (row) => <time>{when(epoch(row.event_at), serverNow())}</time>,
  },
  { head: "source", value: (row) => row.source, show: (row) => <Name of={row.source} /> },
  {
    head: "confidence",
    value: (row) => row.confidence,
    show: (row) => percent(row.confidence),
    number: true,
  },
  { head: "text", value: (row) => row.text, show: (row) => <MessageText text={row.text} />, wide: true },
];

/** The most negative messages, newer ones first. */
export function TopNegative() {
  const [{ source }] = useFilters();
  const { period, words } = useTimes();
  const query = usePanel("top_negative", { source, limit: SHOWN }, { period, every: 5000 });
  const half = Math.max(LEAST_HALF_LIFE_S, secondsOf(period) / 4);
  return (
    <QueryTable
      name="top_negative"
      title="Most negative messages"
      note={`The ${SHOWN} most confident of the ${words}, newer ones first: the weight of a message halves every ${duration(half)}; a repeated text is shown once.`}
      file={`top_negative-${periodName(period)}`}
      raw
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

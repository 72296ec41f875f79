"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { count, fixed, percent } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { SPAN_S, SPAN_WORDS } from "@/lib/spans";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

type Row = Schemas["SourceRow"];

/** Who says most, and what they feel. */
export function Sources() {
  const [{ source, span }, setFilters] = useFilters();
  const query = usePanel("sources", { limit: 100 }, { seconds: SPAN_S[span], every: 5000 });
  const columns: readonly Column<Row>[] = [
    {
      head: "source",
      value: (row) => row.source,
      show: (row) => (
        <button
          type="button"
          className="link source"
          aria-pressed={row.source === source}
          onClick={() => setFilters({ source: row.source === source ? "" : row.source })}
        >
          {row.source}
        </button>
      ),
    },
    { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
    { head: "points", value: (row) => row.points, show: (row) => fixed(row.points, 1), number: true },
    ...LABELS.map((label) => ({
      head: label,
      value: (row: Row) => row[label],
      show: (row: Row) => percent(row.messages ? row[label] / row.messages : null),
      number: true,
    })),
  ];
  return (
    <QueryTable
      name="sources"
      title="Sources"
      note={`The ${SPAN_WORDS[span]}, the busiest first. Choose one to see it alone.`}
      file={`sources-${span}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={columns}
      keyOf={(row) => row.source}
      marked={(row) => row.source === source}
      tall
      empty="No messages in this time."
    />
  );
}

"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { count, fixed } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { sparkOf } from "@/lib/lines";
import { LIVE_S, periodName } from "@/lib/spans";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import { ShareBar } from "@/ui/ShareBar";
import { Sparkline } from "@/ui/Sparkline";
import type { Column } from "@/ui/Table";
import { useWindow } from "./useWindow";

type Row = Schemas["SourceRow"];

/** Who says most, and what they feel. */
export function Sources() {
  const [, setFilters] = useFilters();
  const { live, source, period, words, now } = useWindow();
  const query = usePanel("sources", { limit: 100 }, { period, every: 5000 });
  const columns: readonly Column<Row>[] = [
    {
      head: "source",
      value: (row) => row.source,
      show: (row) => (
        <button
          type="button"
          className="link"
          aria-pressed={row.source === source}
          onClick={() => setFilters({ source: row.source === source ? "" : row.source })}
        >
          <Name of={row.source} />
        </button>
      ),
    },
    { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
    { head: "points", value: (row) => row.points, show: (row) => fixed(row.points, 1), number: true },
    {
      head: "last 10 min",
      value: (row) => (live.cells.has(row.source) ? "live" : ""),
      show: (row) =>
        live.cells.has(row.source) ? (
          <Sparkline
            values={sparkOf(live.cells, row.source, now - LIVE_S + 1, now)}
            label={`Points of ${row.source} over the last 10 minutes, from 0 to 100`}
          />
        ) : (
          <span className="quiet">none</span>
        ),
    },
    {
      head: "labels",
      value: (row) => LABELS.map((label) => `${row[label]} ${label}`).join(", "),
      show: (row) => <ShareBar counts={row} />,
    },
  ];
  return (
    <QueryTable
      name="sources"
      title="Sources"
      note={`By messages, ${words}. Choose one to see it alone.`}
      file={`sources-${periodName(period)}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={columns}
      csvRows={(rows) => rows.map((row) => ({ ...row }))}
      keyOf={(row) => row.source}
      marked={(row) => row.source === source}
      tall
      empty="No messages in this time."
    />
  );
}

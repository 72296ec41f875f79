"use client";

import type { Schemas } from "@/api/client";
import { liveStore } from "@/api/live";
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
import { useTimes } from "./useWindow";

type Row = Schemas["SourceRow"];

/** All sources by their number of messages, with their sentiment. */
export function Sources() {
  const [{ source }, setFilters] = useFilters();
  const { period, words } = useTimes();
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
    { head: "last 10 min", value: () => null, show: (row) => <Recent source={row.source} /> },
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

/** The points of a source over the last ten minutes, drawn once a second. */
function Recent({ source }: { source: string }) {
  const { now } = useTimes();
  const { cells } = liveStore.get();
  if (!cells.has(source)) return <span className="quiet">none</span>;
  return (
    <Sparkline
      values={sparkOf(cells, source, now - LIVE_S + 1, now)}
      label={`Points of ${source} over the last 10 minutes, from 0 to 100`}
    />
  );
}

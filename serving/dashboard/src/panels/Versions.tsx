"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { count, epoch, when } from "@/lib/formats";
import { periodName } from "@/lib/spans";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";
import { FilterBar } from "./FilterBar";
import { useTimes } from "./useWindow";

const time = (iso: string) => <time>{when(epoch(iso), serverNow())}</time>;

const COLUMNS: readonly Column<Schemas["VersionRow"]>[] = [
  {
    head: "version",
    value: (row) => row.model_version,
    show: (row) => (
      <code>
        <Name of={row.model_version} />
      </code>
    ),
  },
  { head: "tier", value: (row) => row.tier, hidden: "same" },
  { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  { head: "first", value: (row) => row.first_at, show: (row) => time(row.first_at) },
  { head: "last", value: (row) => row.last_at, show: (row) => time(row.last_at) },
];

/** The model versions that classified the messages of the stream. */
export function Versions() {
  const [{ source }] = useFilters();
  const { period, words } = useTimes();
  const query = usePanel("versions", { source }, { period, every: 5000 });
  return (
    <QueryTable
      name="versions"
      title="Model versions in the stream"
      note={`Which version classified the messages${source && ` of ${source}`}, ${words}.`}
      actions={<FilterBar shown={["source", "time"]} />}
      file={`versions-${periodName(period)}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={COLUMNS}
      keyOf={(row) => `${row.model_version} ${row.tier}`}
      empty="No messages in this time."
    />
  );
}

"use client";

import type { Schemas } from "@/api/client";
import { usePanel } from "@/api/panels";
import { serverNow } from "@/lib/clock";
import { useFilters } from "@/lib/filters";
import { count, epoch, when } from "@/lib/formats";
import { SPAN_S, SPAN_WORDS } from "@/lib/spans";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

const time = (iso: string) => <time>{when(epoch(iso), serverNow())}</time>;

const COLUMNS: readonly Column<Schemas["VersionRow"]>[] = [
  { head: "version", value: (row) => row.model_version, show: (row) => <code>{row.model_version}</code> },
  { head: "tier", value: (row) => row.tier },
  { head: "messages", value: (row) => row.messages, show: (row) => count(row.messages), number: true },
  { head: "first", value: (row) => row.first_at, show: (row) => time(row.first_at) },
  { head: "last", value: (row) => row.last_at, show: (row) => time(row.last_at) },
];

/** Which model versions judged the messages. */
export function Versions() {
  const [{ source, span }] = useFilters();
  const query = usePanel("versions", { source }, { seconds: SPAN_S[span], every: 5000 });
  return (
    <QueryTable
      name="versions"
      title="Who judged the messages"
      note={`Of the ${SPAN_WORDS[span]}${source && `, of ${source}`}.`}
      file={`versions-${span}`}
      query={query}
      rowsOf={({ rows }) => rows}
      columns={COLUMNS}
      keyOf={(row) => `${row.model_version} ${row.tier}`}
      empty="No messages in this time."
    />
  );
}

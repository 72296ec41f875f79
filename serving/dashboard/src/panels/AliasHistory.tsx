"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { dateOf, epoch } from "@/lib/formats";
import { Name } from "@/ui/Name";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";

type Move = Schemas["Move"];

const COLUMNS: readonly Column<Move>[] = [
  { head: "when", value: ({ at }) => at, show: ({ at }) => <time>{dateOf(epoch(at))}</time> },
  { head: "alias", value: ({ alias }) => alias, show: ({ alias }) => <strong>{alias}</strong> },
  {
    head: "from → to",
    value: ({ from_version, to_version }) => `${from_version ?? "none"} → ${to_version ?? "none"}`,
  },
  { head: "gate", value: ({ gate }) => gate },
  {
    head: "bundle",
    value: ({ bundle }) => bundle,
    show: ({ bundle }) => (
      <code>
        <Name of={bundle} />
      </code>
    ),
  },
  {
    head: "why",
    value: ({ reason }) => reason,
    show: ({ reason }) => <span className="reason">{reason}</span>,
    wide: true,
  },
];

/** Every move of an alias between versions, with its reason. */
export function AliasHistory({ query }: { query: UseQueryResult<Schemas["Production"]> }) {
  return (
    <QueryTable
      name="history"
      title="Alias history"
      note="Every move of an alias in the registry, newest first."
      file="alias-history"
      query={query}
      rowsOf={({ moves }) => moves}
      columns={COLUMNS}
      keyOf={({ at, alias }) => `${at} ${alias}`}
      marked={({ alias }) => alias === "production"}
      tall
      flows
      empty="No alias has been moved yet."
    />
  );
}

"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { dateOf, epoch, NONE, rounded } from "@/lib/formats";
import { QueryTable } from "@/ui/QueryTable";
import type { Column } from "@/ui/Table";
import { Tone } from "@/ui/Tone";

type Rule = Schemas["Rule"];

function number(value: Rule["found"]): string {
  if (value === null) return NONE;
  if (typeof value === "string") return value;
  return Math.abs(value) < 1 ? value.toFixed(3).replace("-", "−") : rounded(value);
}

const COLUMNS: readonly Column<Rule>[] = [
  { head: "rule", value: ({ rule }) => rule },
  { head: "found", value: ({ found }) => found, show: ({ found }) => number(found), number: true },
  { head: "limit", value: ({ limit }) => limit, show: ({ limit }) => number(limit), number: true },
  {
    head: "result",
    value: ({ passed }) => (passed ? "passed" : "failed"),
    show: ({ passed }) => (
      <Tone of={passed ? { tone: "good", words: "passed" } : { tone: "bad", words: "failed" }} />
    ),
  },
  {
    head: "why",
    value: ({ text }) => text,
    show: ({ text }) => <span className="reason">{text}</span>,
    wide: true,
  },
];

/** The rules of the promotion gate, with their limits and the values found. */
export function GateRules({ query }: { query: UseQueryResult<Schemas["Gate"]> }) {
  return (
    <QueryTable
      name="gate"
      title="Promotion gate"
      note={query.data && noteOf(query.data)}
      file="gate"
      query={query}
      rowsOf={({ rules }) => rules}
      columns={COLUMNS}
      keyOf={({ rule }) => rule}
      tall
      flows
      empty={query.data?.missing ?? "The decision has no rules."}
    />
  );
}

function noteOf({ passed, bundle, unchanged, decided_at, rules }: Schemas["Gate"]): string {
  if (passed === null) return "";
  const failed = rules.filter((rule) => !rule.passed).length;
  const outcome = passed ? `passed all ${rules.length} rules` : `failed ${failed} of ${rules.length} rules`;
  const when = decided_at ? `, ${dateOf(epoch(decided_at))}` : "";
  return `${bundle ?? "The bundle"} ${outcome}${when}.${unchanged ? " It was in production already; these rules promoted it." : ""}`;
}

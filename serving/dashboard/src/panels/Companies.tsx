"use client";

import type { Schemas } from "@/api/client";
import { count, fixed } from "@/lib/formats";
import { Meter } from "@/ui/Meter";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable, Table } from "@/ui/Table";

interface Row {
  measure: string;
  on: string;
  found: Schemas["Interval"];
}

const COLUMNS: readonly Column<Row>[] = [
  { head: "measure", value: ({ measure }) => measure },
  { head: "on", value: ({ on }) => on },
  {
    head: "value",
    value: ({ found }) => found.value,
    show: ({ found }) => fixed(found.value, 3),
    number: true,
  },
  {
    head: "95 % interval",
    value: ({ found: { low, high } }) => `${fixed(low, 3)} to ${fixed(high, 3)}`,
    show: ({ found }) => <Meter interval={found} from={0} to={1} />,
  },
];

/** How well a candidate scores the sentiment towards one company of a text. */
export function Companies({ candidate: { name, companies } }: { candidate: Schemas["Candidate"] }) {
  if (!companies) return null;
  const { n, correlation, pairs, order, sentences, made } = companies;
  const rows: Row[] = [
    { measure: "correlation with the scores", on: `${count(n)} texts`, found: correlation },
    ...(order
      ? [
          {
            measure: "two companies of one text in the right order",
            on: `${count(pairs)} pairs`,
            found: order,
          },
        ]
      : []),
    { measure: "the same in made sentences", on: `${count(sentences)} sentences`, found: made },
  ];
  return (
    <Panel
      name="companies"
      title="Companies"
      note={`${name}, the sentiment towards one company, P(positive) − P(negative).`}
      csv={{ file: `companies-${name}`, rows: () => rowsOfTable(COLUMNS, rows) }}
    >
      <Table
        name="companies"
        caption={`Sentiment towards companies by ${name}`}
        columns={COLUMNS}
        rows={rows}
        keyOf={({ measure }) => measure}
        empty="No test text has a score for a company."
      />
    </Panel>
  );
}

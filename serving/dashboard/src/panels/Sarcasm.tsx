"use client";

import type { Schemas } from "@/api/client";
import { count, fixed, percent } from "@/lib/formats";
import { Meter } from "@/ui/Meter";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable, Table } from "@/ui/Table";

type Row = Schemas["Sarcasm"];

const COLUMNS: readonly Column<Row>[] = [
  { head: "dataset", value: ({ dataset }) => dataset },
  { head: "texts", value: ({ n }) => n, show: ({ n }) => count(n), number: true },
  {
    head: "sarcastic",
    value: ({ sarcastic }) => sarcastic,
    show: ({ sarcastic }) => count(sarcastic),
    number: true,
  },
  { head: "F1", value: ({ f1 }) => f1.value, show: ({ f1 }) => fixed(f1.value, 3), number: true },
  {
    head: "95 % interval",
    value: ({ f1: { low, high } }) => `${fixed(low, 3)} to ${fixed(high, 3)}`,
    show: ({ f1 }) => <Meter interval={f1} from={0} to={1} />,
  },
  {
    head: "precision",
    value: ({ precision }) => precision,
    show: ({ precision }) => percent(precision),
    number: true,
  },
  { head: "recall", value: ({ recall }) => recall, show: ({ recall }) => percent(recall), number: true },
];

/** How well a candidate finds sarcasm; not shown for one that does not predict it. */
export function Sarcasm({ candidate: { name, sarcasm, rephrased } }: { candidate: Schemas["Candidate"] }) {
  if (!sarcasm.length) return null;
  const plain = rephrased
    ? ` ${percent(rephrased.value)} of held-out sarcastic texts get the label of what their authors meant, in plain words (${percent(rephrased.low)} to ${percent(rephrased.high)}).`
    : "";
  return (
    <Panel
      name="sarcasm"
      title="Sarcasm"
      note={`${name}, the sarcastic class at a probability of 0.5.${plain}`}
      csv={{ file: `sarcasm-${name}`, rows: () => rowsOfTable(COLUMNS, sarcasm) }}
    >
      <Table
        name="sarcasm"
        caption={`Sarcasm found by ${name}`}
        columns={COLUMNS}
        rows={sarcasm}
        keyOf={({ dataset }) => dataset}
        empty="No test text labels sarcasm."
      />
    </Panel>
  );
}

"use client";

import type { Schemas } from "@/api/client";
import { count, fixed } from "@/lib/formats";
import { sliceWords } from "@/lib/slices";
import { Meter } from "@/ui/Meter";
import { Name } from "@/ui/Name";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable, Table } from "@/ui/Table";

type Slice = Schemas["Slice"];

const COLUMNS: readonly Column<Slice>[] = [
  {
    head: "slice",
    value: ({ names }) => sliceWords(names),
    show: ({ names, weak }) => (
      <>
        <Name of={sliceWords(names)} /> {weak && <span className="tag open">▼ weak</span>}
      </>
    ),
  },
  { head: "texts", value: ({ rows }) => rows, show: ({ rows }) => count(rows), number: true },
  {
    head: "macro-recall",
    value: ({ macro_recall }) => macro_recall.value,
    show: ({ macro_recall }) => fixed(macro_recall.value, 3),
    number: true,
  },
  {
    head: "95 % interval",
    value: ({ macro_recall: { low, high } }) => `${fixed(low, 3)} to ${fixed(high, 3)}`,
    show: ({ macro_recall }) => <Meter interval={macro_recall} from={0} to={1} />,
  },
];

/** The macro-recall of a candidate by slice, the weakest first. */
export function Slices({ candidate: { name, slices } }: { candidate: Schemas["Candidate"] }) {
  return (
    <Panel
      name="slices"
      title="Slices"
      note={`${name} by kind of text, the weakest first. Weak: the whole interval is below that of all texts.`}
      csv={{ file: `slices-${name}`, rows: () => rowsOfTable(COLUMNS, slices) }}
    >
      <Table
        name="slices"
        caption={`Slices of ${name}`}
        columns={COLUMNS}
        rows={slices}
        keyOf={(slice) => slice.names.join()}
        empty="No slices were measured."
      />
    </Panel>
  );
}

"use client";

import { percent } from "@/lib/formats";
import type { Label } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable, Table } from "@/ui/Table";

export interface Tried {
  text: string;
  label: Label;
  confidence: number;
}

const SHOWN_CHARS = 120;

/** The texts classified since the page was opened, the newest first. */
export function Earlier({ tried, onChoose }: { tried: readonly Tried[]; onChoose: (text: string) => void }) {
  const columns: readonly Column<Tried>[] = [
    { head: "label", value: ({ label }) => label, show: ({ label }) => <LabelMark label={label} /> },
    {
      head: "confidence",
      value: ({ confidence }) => confidence,
      show: ({ confidence }) => percent(confidence),
      number: true,
    },
    {
      head: "text",
      value: ({ text }) => text,
      show: ({ text }) => (
        <button type="button" className="link" onClick={() => onChoose(text)}>
          {text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text}
        </button>
      ),
      wide: true,
    },
  ];
  return (
    <Panel
      name="earlier"
      title="Classified in this tab"
      note="Kept until the page is closed. Choose a text to see its prediction again."
      csv={{ file: "classified", rows: () => rowsOfTable(columns, tried) }}
    >
      <Table
        name="earlier"
        caption="Texts classified in this tab"
        columns={columns}
        rows={tried}
        keyOf={({ text }) => text}
        tall
        flows
        empty="Nothing yet."
      />
    </Panel>
  );
}

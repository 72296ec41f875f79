"use client";

import { useRef, useState } from "react";
import { errorMessage } from "@/api/client";
import { usePlaceholder } from "@/api/freshness";
import type { Message } from "@/api/live";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { epoch, percent, timeOf } from "@/lib/formats";
import { LabelMark } from "@/ui/LabelMark";
import { MessageText } from "@/ui/MessageText";
import { Name } from "@/ui/Name";
import { Panel } from "@/ui/Panel";
import { type Column, rowsOfTable, Table } from "@/ui/Table";
import { Tone } from "@/ui/Tone";
import { useWindow } from "./useWindow";

const MOST = 30;
/** Least probability of a message that counts as sarcastic. */
const SARCASTIC = 0.5;

const COLUMNS: readonly Column<Message>[] = [
  {
    head: "time",
    value: ({ event_at }) => event_at,
    show: ({ event_at }) => <time>{timeOf(epoch(event_at))}</time>,
  },
  { head: "source", value: ({ source }) => source, show: ({ source }) => <Name of={source} /> },
  { head: "label", value: ({ label }) => label, show: ({ label }) => <LabelMark label={label} /> },
  {
    head: "confidence",
    value: ({ confidence }) => confidence,
    show: ({ confidence }) => percent(confidence),
    number: true,
  },
  {
    head: "sarcasm",
    value: ({ sarcasm }) => sarcasm,
    show: ({ sarcasm }) =>
      sarcasm !== null && sarcasm >= SARCASTIC ? (
        <Tone of={{ tone: "warn", words: `${percent(sarcasm)} sarcastic` }} />
      ) : (
        percent(sarcasm)
      ),
    number: true,
    hidden: "empty",
  },
  { head: "domain", value: ({ domain }) => domain, hidden: "same" },
  { head: "tier", value: ({ tier }) => tier, hidden: "same" },
  { head: "text", value: ({ text }) => text, show: ({ text }) => <MessageText text={text} />, wide: true },
];

/** The newest messages. The list pauses while the pointer or the focus is in it. */
export function Messages() {
  const { messages, query, words, isKnown } = useNewest();
  const placeholder = usePlaceholder();
  const [paused, setPaused] = useState(false);
  const [reading, setReading] = useState(false);
  const shown = useRef<readonly Message[]>(messages);
  const isPaused = (paused || reading) && shown.current.length > 0;
  if (!isPaused) shown.current = messages;
  const rows = shown.current;
  const newer = isPaused ? messages.findIndex((message) => keyOf(message) === keyOf(rows[0] as Message)) : 0;
  const waiting = newer < 0 ? `${MOST} or more` : newer;
  const pause = (
    <button type="button" className="small" aria-pressed={paused} onClick={() => setPaused(!paused)}>
      {paused ? "Resume" : "Pause"}
    </button>
  );
  return (
    <Panel
      name="messages"
      title="Latest messages"
      note={isPaused ? `Paused${paused ? "" : " while you read"}; ${waiting} newer.` : words}
      actions={pause}
      csv={{ file: "messages", raw: true, rows: () => rowsOfTable(COLUMNS, rows) }}
    >
      {query.error && !rows.length ? (
        <p className="plain">Nothing to show: {errorMessage(query.error)}</p>
      ) : null}
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms */}
      <div
        role="group"
        onPointerEnter={(event) => event.pointerType === "mouse" && setReading(true)}
        onPointerLeave={() => setReading(false)}
        onFocus={() => setReading(true)}
        onBlur={() => setReading(false)}
      >
        <Table
          name="messages"
          caption="The newest messages"
          columns={COLUMNS}
          rows={rows}
          keyOf={keyOf}
          rowName="message-row"
          tall
          flows
          empty={query.error ? "" : isKnown ? "No matching message in this time." : placeholder}
        />
      </div>
    </Panel>
  );
}

/** The newest messages of the live socket; with filters also those of the warehouse, since few of the newest may match. */
function useNewest() {
  const { live, source, period, words, isKnown } = useWindow();
  const [{ label, domain, sarcasm }] = useFilters();
  const isCustom = !("span" in period);
  const filtered = Boolean(source || label || domain || sarcasm || isCustom);
  const query = usePanel(
    "messages",
    { source, label, domain, sarcastic: sarcasm === "sarcastic", limit: MOST },
    { period, every: 2000, enabled: filtered },
  );
  const matching = new Map<string, Message>();
  for (const message of [...(isCustom ? [] : live.messages), ...(filtered ? (query.data?.rows ?? []) : [])]) {
    const matches =
      (!source || message.source === source) &&
      (!label || message.label === label) &&
      (!domain || message.domain === domain || message.domain === null) &&
      (!sarcasm || (message.sarcasm ?? 0) >= SARCASTIC);
    if (matches) matching.set(keyOf(message), message);
  }
  const messages = [...matching.values()]
    .sort((a, b) => Date.parse(b.event_at) - Date.parse(a.event_at))
    .slice(0, MOST);
  const note = filtered
    ? `The newest ${MOST}${[sarcasm, label].map((word) => word && ` ${word}`).join("")} messages${domain && ` by the head ${domain}`}${source && ` of ${source}`}, ${words}.`
    : `The newest ${MOST} messages. Confidence: calibrated probability of the label.`;
  return { messages, query, words: note, isKnown };
}

function keyOf({ topic, partition, offset }: Message): string {
  return `${topic}/${partition}/${offset}`;
}

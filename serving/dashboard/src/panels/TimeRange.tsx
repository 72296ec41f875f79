"use client";

import { type FormEvent, useState } from "react";
import { useFilters } from "@/lib/filters";
import { inputOf, parseInput } from "@/lib/inputs";
import { rangeProblem, SPAN_S, SPAN_WORDS, SPANS, type Span } from "@/lib/spans";
import { Select } from "@/ui/Select";
import { useTimes } from "./useWindow";

const CUSTOM = "custom";

/** Controls for the chosen time: a span up to now, or a range between two times. */
export function TimeRange() {
  const [{ span }, setFilters] = useFilters();
  const { now, period } = useTimes();
  const isCustom = !("span" in period);
  const choose = (value: Span | typeof CUSTOM) =>
    value === CUSTOM
      ? setFilters({ from: now - SPAN_S[span], to: now })
      : setFilters({ span: value, from: null, to: null });
  return (
    <>
      <Select
        name="Time"
        value={isCustom ? CUSTOM : span}
        options={[
          ...SPANS.map((value) => ({ value, words: SPAN_WORDS[value] })),
          { value: CUSTOM, words: isCustom ? "custom range" : "custom range…" },
        ]}
        onChange={choose}
      />
      {isCustom && <Range key={`${period.from} ${period.to}`} from={period.from} to={period.to} now={now} />}
    </>
  );
}

function Range({ from, to, now }: { from: number; to: number; now: number }) {
  const [, setFilters] = useFilters();
  const [typed, setTyped] = useState({ from: inputOf(from), to: inputOf(to) });
  const times = { from: parseInput(typed.from), to: parseInput(typed.to) };
  const problem = rangeProblem(times.from, times.to, now);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!problem) void setFilters(times);
  };
  return (
    <form className="range" onSubmit={submit} aria-label="Custom range">
      {(["from", "to"] as const).map((end) => (
        <label key={end} className="field">
          <span>{end === "from" ? "From" : "To"}</span>
          <input
            type="datetime-local"
            step="1"
            value={typed[end]}
            onChange={(event) => setTyped({ ...typed, [end]: event.target.value })}
          />
        </label>
      ))}
      <button type="submit" disabled={problem !== null} title={problem ?? undefined}>
        Apply
      </button>
      <button type="button" onClick={() => setFilters({ from: null, to: null })}>
        Reset the zoom
      </button>
      {problem && (
        <p className="note" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}

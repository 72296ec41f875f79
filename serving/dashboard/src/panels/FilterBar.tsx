"use client";

import { liveStore } from "@/api/live";
import { useModel } from "@/api/model";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { HEADS, LABELS } from "@/lib/labels";
import { maskProfanityIn, maskStore } from "@/lib/preferences";
import { useStore } from "@/lib/store";
import { Select } from "@/ui/Select";
import { TimeRange } from "./TimeRange";
import { useTimes } from "./useWindow";

const BY = [
  { value: "", words: "points" },
  { value: "label", words: "label shares" },
  { value: "source", words: "busiest sources" },
] as const;

const LABEL_OPTIONS = [
  { value: "", words: "all labels" } as const,
  ...LABELS.map((value) => ({ value, words: value })),
];

const SARCASM_OPTIONS = [
  { value: "", words: "sarcastic or not" },
  { value: "sarcastic", words: "sarcastic" },
] as const;

type Shown = "source" | "time" | "by" | "label" | "profanity";

/** The filters of the page, stored in its address. */
export function FilterBar({ shown }: { shown: readonly Shown[] }) {
  const [filters, setFilters] = useFilters();
  const sources = useSources(shown.includes("source"));
  return (
    <search className="filters" aria-label="Filters">
      {shown.includes("source") && (
        <Select
          name="Source"
          value={filters.source}
          options={[
            { value: "", words: "all sources" },
            ...sources.map((value) => ({ value, words: value })),
          ]}
          onChange={(source) => setFilters({ source })}
        />
      )}
      {shown.includes("time") && <TimeRange />}
      {shown.includes("by") && (
        <Select name="Chart" value={filters.by} options={BY} onChange={(by) => setFilters({ by })} />
      )}
      {shown.includes("label") && (
        <Select
          name="Messages"
          value={filters.label}
          options={LABEL_OPTIONS}
          onChange={(label) => setFilters({ label })}
        />
      )}
      {shown.includes("label") && <ModelFilters />}
      {shown.includes("profanity") && <MaskSwitch />}
    </search>
  );
}

/** Filters of messages by what only some models predict; also shown while the address has one. */
function ModelFilters() {
  const [{ domain, sarcasm }, setFilters] = useFilters();
  const model = useModel().data;
  const heads = HEADS.filter((head) => model?.heads.includes(head) || head === domain);
  return (
    <>
      {(heads.length > 1 || domain) && (
        <Select
          name="Domain"
          value={domain}
          options={[{ value: "", words: "all domains" }, ...heads.map((value) => ({ value, words: value }))]}
          onChange={(chosen) => setFilters({ domain: chosen })}
        />
      )}
      {(model?.sarcasm || sarcasm) && (
        <Select
          name="Sarcasm"
          value={sarcasm}
          options={SARCASM_OPTIONS}
          onChange={(chosen) => setFilters({ sarcasm: chosen })}
        />
      )}
    </>
  );
}

export function MaskSwitch() {
  const masked = useStore(maskStore);
  return (
    <label className="switch">
      <input type="checkbox" checked={masked} onChange={(event) => maskProfanityIn(event.target.checked)} />
      Mask profanity
    </label>
  );
}

/** The sources of the chosen period, the live sources, and the chosen source even if it is unknown. */
function useSources(enabled: boolean): string[] {
  const [{ source }] = useFilters();
  const { cells } = useStore(liveStore);
  const { period } = useTimes();
  const rows = usePanel("sources", { limit: 100 }, { period, every: 5000, enabled }).data?.rows ?? [];
  const names = new Set([...rows.map((row) => row.source), ...cells.keys(), source]);
  names.delete("");
  return [...names].sort((a, b) => a.localeCompare(b));
}

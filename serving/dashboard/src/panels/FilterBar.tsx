"use client";

import { liveStore } from "@/api/live";
import { usePanel } from "@/api/panels";
import { type Filters, useFilters } from "@/lib/filters";
import { LABELS } from "@/lib/labels";
import { SPAN_S, SPAN_WORDS, SPANS } from "@/lib/spans";
import { useStore } from "@/lib/store";
import { Select } from "@/ui/Select";

const BY = [
  { value: "", words: "points" },
  { value: "label", words: "label shares" },
  { value: "source", words: "busiest sources" },
] as const;

const LABEL_OPTIONS = [
  { value: "", words: "all labels" } as const,
  ...LABELS.map((value) => ({ value, words: value })),
];

/** What the page shows, kept in its address. */
export function FilterBar({ shown }: { shown: readonly (keyof Filters)[] }) {
  const [filters, setFilters] = useFilters();
  const sources = useSources(shown.includes("source"));
  return (
    <search className="filters" aria-label="What to show">
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
      {shown.includes("span") && (
        <Select
          name="Time"
          value={filters.span}
          options={SPANS.map((value) => ({ value, words: SPAN_WORDS[value] }))}
          onChange={(span) => setFilters({ span })}
        />
      )}
      {shown.includes("by") && (
        <Select name="Trend of" value={filters.by} options={BY} onChange={(by) => setFilters({ by })} />
      )}
      {shown.includes("label") && (
        <Select
          name="Messages"
          value={filters.label}
          options={LABEL_OPTIONS}
          onChange={(label) => setFilters({ label })}
        />
      )}
    </search>
  );
}

/** The sources of the span and those that are live, and the chosen one whatever it is. */
function useSources(enabled: boolean): string[] {
  const [{ source, span }] = useFilters();
  const { cells } = useStore(liveStore);
  const asking = { seconds: SPAN_S[span], every: 5000, enabled };
  const rows = usePanel("sources", { limit: 100 }, asking).data?.rows ?? [];
  const names = new Set([...rows.map((row) => row.source), ...cells.keys(), source]);
  names.delete("");
  return [...names].sort((a, b) => a.localeCompare(b));
}

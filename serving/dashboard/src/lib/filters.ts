import { createSerializer, parseAsString, parseAsStringLiteral, useQueryStates } from "nuqs";
import { LABELS } from "./labels";
import { SPANS } from "./spans";

const filters = {
  source: parseAsString.withDefault(""),
  span: parseAsStringLiteral(SPANS).withDefault("10m"),
  by: parseAsStringLiteral(["", "label", "source"] as const).withDefault(""),
  label: parseAsStringLiteral(["", ...LABELS] as const).withDefault(""),
};

/** What the address says is to be shown. Empty strings: of all. */
export function useFilters() {
  return useQueryStates(filters, { history: "push" });
}

export type Filters = ReturnType<typeof useFilters>[0];

/** The address of a view with these filters. */
export const withFilters = createSerializer(filters);

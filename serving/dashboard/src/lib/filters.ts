import { createParser, createSerializer, parseAsString, parseAsStringLiteral, useQueryStates } from "nuqs";
import { HEADS, LABELS } from "./labels";
import { SPANS } from "./spans";

/** Epoch seconds, written in the address as an ISO time. */
const time = createParser({
  parse: (value) => {
    const ms = Date.parse(value);
    return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
  },
  serialize: (seconds: number) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z"),
});

/** All filters that an address can contain. */
export const filters = {
  source: parseAsString.withDefault(""),
  span: parseAsStringLiteral(SPANS).withDefault("10m"),
  from: time,
  to: time,
  by: parseAsStringLiteral(["", "label", "source"] as const).withDefault(""),
  label: parseAsStringLiteral(["", ...LABELS] as const).withDefault(""),
  domain: parseAsStringLiteral(["", ...HEADS] as const).withDefault(""),
  sarcasm: parseAsStringLiteral(["", "sarcastic"] as const).withDefault(""),
  axis: parseAsStringLiteral(["", "fit"] as const).withDefault(""),
  alert: parseAsString.withDefault(""),
};

/** The filters in the address, and their setter. An empty string means all. */
export function useFilters() {
  return useQueryStates(filters, { history: "push" });
}

export type Filters = ReturnType<typeof useFilters>[0];

/** Build the address of a view with these filters. */
export const withFilters = createSerializer(filters);

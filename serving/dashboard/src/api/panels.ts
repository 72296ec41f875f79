import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { serverNow } from "@/lib/clock";
import { bucketsOf, type Period, SPAN_S } from "@/lib/spans";
import { ApiError, client, dataOf, errorMessage } from "./client";
import { report } from "./health";
import type { paths } from "./schema";

type PanelPath = Extract<keyof paths, `/v1/panels/${string}`>;
export type PanelName = PanelPath extends `/v1/panels/${infer Name}` ? Name : never;
type Get<Name extends PanelName> = paths[`/v1/panels/${Name}`]["get"];
export type PanelResponse<Name extends PanelName> =
  Get<Name>["responses"][200]["content"]["application/json"];
type Query<Name extends PanelName> = Omit<NonNullable<Get<Name>["parameters"]["query"]>, "since" | "until">;

const FROM_WAREHOUSE: readonly string[] = [
  "distribution",
  "trend",
  "volume",
  "sources",
  "messages",
  "top_negative",
  "alerts",
  "versions",
  "tiers",
  "latency",
];

const IN_BUCKETS: readonly string[] = ["distribution", "trend", "volume", "tiers", "sources"];

interface RequestOptions {
  /** The time range; left out for a panel without one. */
  period?: Period;
  /** Seconds before the start of the period that are requested too. */
  before?: number;
  /** Request everything up to now, whatever the end of the period. */
  open?: boolean;
  /** Time between two requests, in ms. */
  every: number;
  enabled?: boolean;
}

/** Request a panel every `every` ms. The previous response stays while the next one loads. */
export function usePanel<Name extends PanelName>(
  name: Name,
  query: Query<Name>,
  { period, before = 0, open = false, every, enabled }: RequestOptions,
) {
  return useQuery({
    queryKey: [name, query, period, before],
    queryFn: () => requestPanel(name, { ...query, ...(period && limitsOf(name, period, before, open)) }),
    refetchInterval: every,
    placeholderData: keepPreviousData,
    enabled,
  });
}

function limitsOf(name: PanelName, period: Period, before: number, open: boolean) {
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
  const now = serverNow();
  const every = IN_BUCKETS.includes(name) ? bucketsOf(period, now) : undefined;
  if ("span" in period) return { since: iso(now - SPAN_S[period.span] - before), every };
  return { since: iso(period.from - before), until: open ? undefined : iso(period.to), every };
}

async function requestPanel<Name extends PanelName>(name: Name, query: object): Promise<PanelResponse<Name>> {
  const path = `/v1/panels/${name}` as PanelPath;
  const isFromWarehouse = FROM_WAREHOUSE.includes(name);
  try {
    const data = await dataOf(client.GET(path, { params: { query } } as never));
    report(isFromWarehouse ? { keyError: null, warehouse: null } : { keyError: null });
    return data as PanelResponse<Name>;
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 503 && isFromWarehouse) report({ warehouse: errorMessage(error) });
    if (status === 403) report({ keyError: errorMessage(error) });
    throw error;
  }
}

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { serverNow } from "@/lib/clock";
import { bucketsOf, type Period, SPAN_S } from "@/lib/spans";
import { answerOf, client, Refusal, wordsOf } from "./client";
import { report } from "./health";
import type { paths } from "./schema";

type PanelPath = Extract<keyof paths, `/v1/panels/${string}`>;
export type PanelName = PanelPath extends `/v1/panels/${infer Name}` ? Name : never;
type Get<Name extends PanelName> = paths[`/v1/panels/${Name}`]["get"];
export type PanelAnswer<Name extends PanelName> = Get<Name>["responses"][200]["content"]["application/json"];
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
  "latency",
];

const IN_BUCKETS: readonly string[] = ["distribution", "trend", "volume", "sources"];

interface Asking {
  /** Of which time; none where the panel is of no time. */
  period?: Period;
  /** Seconds before its start that are asked for too. */
  before?: number;
  /** Up to now, whatever the end of the time. */
  open?: boolean;
  /** Between two requests, in ms. */
  every: number;
  enabled?: boolean;
}

/** A panel's answer, requested again and again. While it is on its way, the answer before stays. */
export function usePanel<Name extends PanelName>(
  name: Name,
  query: Query<Name>,
  { period, before = 0, open = false, every, enabled }: Asking,
) {
  return useQuery({
    queryKey: [name, query, period, before],
    queryFn: () => ask(name, { ...query, ...(period && limitsOf(name, period, before, open)) }),
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

async function ask<Name extends PanelName>(name: Name, query: object): Promise<PanelAnswer<Name>> {
  const path = `/v1/panels/${name}` as PanelPath;
  const asksWarehouse = FROM_WAREHOUSE.includes(name);
  try {
    const found = await answerOf(client.GET(path, { params: { query } } as never));
    report(asksWarehouse ? { keyWanted: null, warehouse: null } : { keyWanted: null });
    return found as PanelAnswer<Name>;
  } catch (error) {
    const status = error instanceof Refusal ? error.status : 0;
    if (status === 503 && asksWarehouse) report({ warehouse: wordsOf(error) });
    if (status === 403) report({ keyWanted: wordsOf(error) });
    throw error;
  }
}

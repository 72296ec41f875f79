import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { serverNow } from "@/lib/clock";
import { answerOf, client, Refusal, wordsOf } from "./client";
import { report } from "./health";
import type { paths } from "./schema";

type PanelPath = Extract<keyof paths, `/v1/panels/${string}`>;
export type PanelName = PanelPath extends `/v1/panels/${infer Name}` ? Name : never;
type Get<Name extends PanelName> = paths[`/v1/panels/${Name}`]["get"];
export type PanelAnswer<Name extends PanelName> = Get<Name>["responses"][200]["content"]["application/json"];
type Query<Name extends PanelName> = Omit<NonNullable<Get<Name>["parameters"]["query"]>, "since" | "until">;

const WITHOUT_WAREHOUSE: readonly string[] = ["stream", "api", "leaderboard", "production"];

interface Asking {
  /** How many seconds up to now; none where the panel is of no span. */
  seconds?: number;
  /** Between two questions, in ms. */
  every: number;
  enabled?: boolean;
}

/** A panel's answer, asked again and again. While it is asked for anew, the answer before stays. */
export function usePanel<Name extends PanelName>(
  name: Name,
  query: Query<Name>,
  { seconds, every, enabled }: Asking,
) {
  return useQuery({
    queryKey: [name, query, seconds],
    queryFn: () => ask(name, { ...query, ...(seconds && { since: sinceOf(seconds) }) }),
    refetchInterval: every,
    placeholderData: keepPreviousData,
    enabled,
  });
}

function sinceOf(seconds: number): string {
  return new Date((serverNow() - seconds) * 1000).toISOString();
}

async function ask<Name extends PanelName>(name: Name, query: object): Promise<PanelAnswer<Name>> {
  const path = `/v1/panels/${name}` as PanelPath;
  try {
    const found = await answerOf(client.GET(path, { params: { query } } as never));
    report(WITHOUT_WAREHOUSE.includes(name) ? { keyWanted: null } : { keyWanted: null, warehouse: null });
    return found as PanelAnswer<Name>;
  } catch (error) {
    const status = error instanceof Refusal ? error.status : 0;
    if (status === 503 && !WITHOUT_WAREHOUSE.includes(name)) report({ warehouse: wordsOf(error) });
    if (status === 403) report({ keyWanted: wordsOf(error) });
    throw error;
  }
}

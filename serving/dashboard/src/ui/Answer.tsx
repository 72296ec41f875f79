"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { wordsOf } from "@/api/client";
import { healthStore } from "@/api/health";
import { timeOf } from "@/lib/formats";
import { useStore } from "@/lib/store";

interface Props<Data> {
  query: UseQueryResult<Data>;
  children: (data: Data) => ReactNode;
}

/** What a query gave; or that it is on its way, or why there is nothing. What was given before stays, dimmed and with its time. */
export function Answer<Data>({ query, children }: Props<Data>) {
  const { data, error, dataUpdatedAt, isPlaceholderData } = query;
  const { service, warehouse } = useStore(healthStore);
  const told = service !== null || warehouse !== null; // the notice says why, once for the whole page
  if (data === undefined && error)
    return <p className="plain">{told ? "Not available." : `Not available: ${wordsOf(error)}`}</p>;
  if (data === undefined) return <p className="plain">Loading…</p>;
  return (
    <div className={error ? "dated" : isPlaceholderData ? "waiting" : undefined}>
      {error && (
        <p className="asof">
          Data as of {timeOf(dataUpdatedAt / 1000)}.{!told && ` ${wordsOf(error)}`}
        </p>
      )}
      {children(data)}
    </div>
  );
}

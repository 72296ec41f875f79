"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { errorMessage } from "@/api/client";
import { healthStore } from "@/api/health";
import { timeOf } from "@/lib/formats";
import { useStore } from "@/lib/store";

interface Props<Data> {
  query: UseQueryResult<Data>;
  children: (data: Data) => ReactNode;
}

/** The data of a query, or its loading or error state. After an error the previous data stays, dimmed and with its time. */
export function QueryContent<Data>({ query, children }: Props<Data>) {
  const { data, error, dataUpdatedAt, isPlaceholderData } = query;
  const { service, warehouse } = useStore(healthStore);
  const hasNotice = service !== null || warehouse !== null; // the notice gives the reason, once for the whole page
  if (data === undefined && error)
    return <p className="plain">{hasNotice ? "Not available." : `Not available: ${errorMessage(error)}`}</p>;
  if (data === undefined) return <p className="plain">Loading…</p>;
  return (
    <div className={error ? "dated" : isPlaceholderData ? "waiting" : undefined}>
      {error && (
        <p className="asof">
          Data as of {timeOf(dataUpdatedAt / 1000)}.{!hasNotice && ` ${errorMessage(error)}`}
        </p>
      )}
      {children(data)}
    </div>
  );
}

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { wordsOf } from "@/api/client";
import { timeOf } from "@/lib/formats";

interface Props<Data> {
  query: UseQueryResult<Data>;
  children: (data: Data) => ReactNode;
}

/** What a query answered; or that it is on its way, or why there is none. Old answers stay and are marked as old. */
export function Answer<Data>({ query, children }: Props<Data>) {
  const { data, error, dataUpdatedAt } = query;
  if (data === undefined)
    return <p className="plain">{error ? `Nothing to show: ${wordsOf(error)}` : "Loading…"}</p>;
  return (
    <>
      {error && (
        <p className="old">
          Old numbers, of {timeOf(dataUpdatedAt / 1000)}: {wordsOf(error)}
        </p>
      )}
      {children(data)}
    </>
  );
}

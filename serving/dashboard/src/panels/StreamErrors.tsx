"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { count, plural } from "@/lib/formats";
import { stepsOf } from "@/lib/history";
import { TimeChart } from "@/ui/TimeChart";
import { useTimes } from "./useWindow";

/** Dead letters and restarts over the chosen time. */
export function StreamErrors({ history }: { history: UseQueryResult<Schemas["StreamHistory"]> }) {
  const { words, first, last, zoom } = useTimes();
  const { times, rows } = useMemo(
    () => (history.data ? stepsOf(history.data) : { times: [], rows: [] }),
    [history.data],
  );
  const lines = useMemo(
    () => [
      { name: "dead letters", values: rows.map((row) => row?.dead_letters ?? null) },
      { name: "restarts", values: rows.map((row) => row?.restarts ?? null) },
    ],
    [rows],
  );
  const all = (which: 0 | 1) =>
    lines[which]?.values.reduce<number>((sum, value) => sum + (value ?? 0), 0) ?? 0;
  return (
    <TimeChart
      name="errors"
      title="Errors of the stream"
      note={`${plural(all(0), "dead letter")} and ${plural(all(1), "restart")}, ${words}.`}
      times={times}
      lines={lines}
      range={[first, last]}
      format={count}
      least={4}
      empty="Not measured (stream not running in this time)."
      onZoom={zoom}
    />
  );
}

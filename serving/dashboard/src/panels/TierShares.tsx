"use client";

import { useMemo } from "react";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { epoch, percent } from "@/lib/formats";
import { shareLines } from "@/lib/tiers";
import { QueryContent } from "@/ui/QueryContent";
import { TimeChart } from "@/ui/TimeChart";
import { useTimes } from "./useWindow";

/** The share of each tier in the messages of the stream, over time; nothing where one tier classified all. */
export function TierShares() {
  const [{ source }] = useFilters();
  const { period, words, first, last, zoom } = useTimes();
  const query = usePanel("tiers", { source }, { period, every: 5000 });
  const { rows, every } = query.data ?? { rows: [], every: "minute" as const };
  const { times, lines } = useMemo(
    () =>
      shareLines(
        rows.map((row) => ({ ...row, at: epoch(row.bucket) })),
        every,
      ),
    [rows, every],
  );
  if (lines.length < 2) return null;
  return (
    <QueryContent query={query}>
      {() => (
        <TimeChart
          name="tiers"
          title="Tiers in the stream"
          note={`Share of the messages by the tier whose prediction counts, per ${every === "hour" ? "hour" : "minute"}, ${words}.`}
          times={times}
          lines={lines}
          range={[first, last]}
          format={percent}
          least={1}
          empty="No messages in this time."
          onZoom={zoom}
        />
      )}
    </QueryContent>
  );
}

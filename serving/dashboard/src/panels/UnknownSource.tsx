"use client";

import { liveStore } from "@/api/live";
import { usePanel } from "@/api/panels";
import { useFilters } from "@/lib/filters";
import { KEPT_DAYS } from "@/lib/spans";
import { Notice } from "@/ui/Notice";
import { useTimes } from "./useWindow";

/** A notice if the chosen source has no messages in the warehouse. */
export function UnknownSource() {
  const { now } = useTimes();
  const [{ source }, setFilters] = useFilters();
  const seen = !source || liveStore.get().cells.has(source); // checked every second
  const period = { from: now - KEPT_DAYS * 86_400 + 3600, to: now + 60 };
  const known = usePanel(
    "sources",
    { source, limit: 1 },
    { period: rounded(period), every: 30_000, enabled: !seen },
  );
  if (seen || known.data === undefined || known.isPlaceholderData || known.data.rows.length) return null;
  return (
    <Notice state="source-unknown" title={`No messages from source "${source}" are known.`} tone="bad">
      <button type="button" className="small" onClick={() => setFilters({ source: null })}>
        Show all sources
      </button>
    </Notice>
  );
}

/** Round to whole minutes, so that the request stays the same within a minute. */
function rounded({ from, to }: { from: number; to: number }) {
  return { from: Math.floor(from / 60) * 60, to: Math.ceil(to / 60) * 60 };
}

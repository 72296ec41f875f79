"use client";

import { healthStore } from "@/api/health";
import { liveStore } from "@/api/live";
import { usePanel } from "@/api/panels";
import { useNow } from "@/lib/clock";
import { duration, epoch, timeOf, when } from "@/lib/formats";
import { useStore } from "@/lib/store";
import { Plain } from "@/ui/Plain";

const STOPPED_S = 60;
const DAY_S = 86_400;

/** What everyone must know before they believe a number on the page. */
export function Banners() {
  const live = useStore(liveStore);
  const { service, warehouse, keyWanted } = useStore(healthStore);
  const away = live.away ?? warehouse;
  if (keyWanted !== null) return null;
  if (service)
    return (
      <Plain state="service-away" title="The service does not answer." tone="bad">
        {service} This page goes on trying; <AsOf />
      </Plain>
    );
  if (away)
    return (
      <Plain state="warehouse-away" title="The warehouse is away." tone="bad">
        {away} On this page <AsOf />
      </Plain>
    );
  if (!live.begun) return null;
  const newest = live.messages[0];
  if (newest) return <Stopped at={epoch(newest.event_at)} />;
  return live.cells.size ? null : <NothingLive />;
}

function AsOf() {
  const { knownTo } = useStore(liveStore);
  return knownTo === null
    ? "nothing is known yet."
    : `what it shows of messages is old, of ${timeOf(knownTo)}.`;
}

/** Nothing in ten minutes: did the stream stop, or was there never anything? */
function NothingLive() {
  const older = usePanel("messages", { limit: 1 }, { seconds: DAY_S, every: 5000 });
  const newest = older.data?.rows[0];
  if (newest) return <Stopped at={epoch(newest.event_at)} />;
  if (!older.isSuccess) return null;
  return (
    <Plain state="no-data" title="No messages yet.">
      None in the last day. Send some: <code>groundswell stream send</code>
    </Plain>
  );
}

function Stopped({ at }: { at: number }) {
  const now = useNow();
  const stopped = now - at > STOPPED_S;
  const stream = usePanel("stream", {}, { every: 5000, enabled: stopped }).data;
  if (!stopped) return null;
  return (
    <Plain state="stopped" title="No new messages.">
      The newest is of {when(at, now)}, {duration(now - at)} ago.{" "}
      {stream && `The stream is ${stream.state}${stream.detail && `: ${stream.detail}`}.`}
    </Plain>
  );
}

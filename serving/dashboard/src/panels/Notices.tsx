"use client";

import { usePathname, useRouter, useSearchParams } from "next/navigation";
import type { Schemas } from "@/api/client";
import { useFreshness } from "@/api/freshness";
import { healthStore } from "@/api/health";
import { liveStore } from "@/api/live";
import { usePanel } from "@/api/panels";
import { catchingUp, stateWords, useStream } from "@/api/stream";
import { useNow } from "@/lib/clock";
import { filterProblems } from "@/lib/filterProblems";
import { count, duration, epoch, timeOf, when } from "@/lib/formats";
import { newestOf } from "@/lib/freshness";
import { useStore } from "@/lib/store";
import { Plain } from "@/ui/Plain";
import { UnknownSource } from "./UnknownSource";

/** What the service says when no process has the warehouse (serving/warehouse/connect.py). */
const NOT_RUNNING = "The message database is not running";

/** What everyone must know before they believe a number on the page. It covers the foot of the page, so that nothing moves. */
export function Notices() {
  const { keyWanted } = useStore(healthStore);
  if (keyWanted !== null) return null;
  return (
    <div className="notices">
      <AddressProblems />
      <UnknownSource />
      <State />
    </div>
  );
}

function State() {
  const live = useStore(liveStore);
  const { service, warehouse } = useStore(healthStore);
  const fresh = useFreshness();
  const stream = useStream().data;
  if (service)
    return (
      <Plain state="service-away" title={`${service}; retrying.`} tone="bad">
        <AsOf />
      </Plain>
    );
  const down = live.away ?? warehouse;
  if (down) {
    const stopped = down.startsWith(NOT_RUNNING);
    return (
      <Plain
        state="warehouse-away"
        title={`The message database ${stopped ? "is not running" : "does not answer"}.`}
        tone="bad"
      >
        {!stopped && `${down} `}
        <AsOf /> {stopped && <Remedy />}
      </Plain>
    );
  }
  if (fresh.state === "connecting" || fresh.state === "locked") return null;
  if (stream && catchingUp(stream) && stream.state !== "not supervised") return <CatchingUp of={stream} />;
  if (fresh.state === "empty") return <NoneLately />;
  const at = newestOf(live);
  return fresh.state === "stale" && at !== null ? <Stopped at={at} /> : null;
}

function AsOf() {
  const { knownTo } = useStore(liveStore);
  return knownTo === null ? "No messages loaded yet." : `Data as of ${timeOf(knownTo)}.`;
}

function Remedy() {
  return (
    <>
      Start it with <code>groundswell stream up</code>.
    </>
  );
}

/** Nothing in ten minutes: did the stream stop, or was there never anything? */
function NoneLately() {
  const older = usePanel("messages", { limit: 1 }, { period: { span: "24h" }, every: 5000 });
  const newest = older.data?.rows[0];
  if (newest) return <Stopped at={epoch(newest.event_at)} />;
  if (!older.isSuccess) return null;
  return (
    <Plain state="no-data" title="No messages yet.">
      None in the last 24 hours. Send some: <code>groundswell stream send</code>
    </Plain>
  );
}

function Stopped({ at }: { at: number }) {
  const now = useNow();
  const stream = useStream().data;
  return (
    <Plain state="stopped" title="No new messages.">
      The newest is from {when(at, now)}, {duration(Math.max(0, now - at))} ago.{" "}
      {stream && `The stream is ${stateWords(stream)}.`}
    </Plain>
  );
}

function CatchingUp({ of: { lag, drain_s } }: { of: Schemas["StreamStatus"] }) {
  return (
    <Plain state="catching-up" title="Catching up.">
      {count(lag)} messages wait{drain_s !== null && `, about ${duration(drain_s)} of work`}; until then the
      newest numbers are incomplete.
    </Plain>
  );
}

/** Filters in the address that are none. */
function AddressProblems() {
  const now = useNow();
  const router = useRouter();
  const path = usePathname();
  const problems = filterProblems(useSearchParams(), now);
  if (!problems.length) return null;
  return (
    <Plain state="filters" title="Check the address." tone="bad">
      {problems.join(" ")}{" "}
      <button type="button" className="small" onClick={() => router.replace(path)}>
        Reset the filters
      </button>
    </Plain>
  );
}

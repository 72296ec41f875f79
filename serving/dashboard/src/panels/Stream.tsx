"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { allNotices, catchingUp, noticesWords, stateWords, workersWords } from "@/api/stream";
import { bytes, compact, count, duration, fixed, rounded } from "@/lib/formats";
import {
  cpuMeaning,
  deadLetterMeaning,
  drainMeaning,
  lagMeaning,
  memoryMeaning,
  sumOf,
} from "@/lib/thresholds";
import { Figures } from "@/ui/Figures";
import { Panel } from "@/ui/Panel";
import { QueryContent } from "@/ui/QueryContent";

/** The current status of the stream, updated every second. */
export function Stream({ query }: { query: UseQueryResult<Schemas["StreamStatus"]> }) {
  return (
    <Panel name="stream" title="Stream, now">
      <QueryContent query={query}>
        {(stream) => (
          <>
            <p className="sentence" data-testid="stream-state">
              The stream is <strong>{stateWords(stream)}</strong>
              {stream.target !== null && `, ${workersWords(stream)}`}. Topic <code>{stream.topic}</code>,
              group <code>{stream.group}</code>.
              {catchingUp(stream) && (
                <>
                  {" "}
                  <strong>Catching up</strong>: latencies include the time in the queue.
                </>
              )}
            </p>
            {stream.broker && <p className="asof">The broker does not respond: {stream.broker}</p>}
            {stream.warehouse && (
              <p className="asof">The message database does not respond: {stream.warehouse}</p>
            )}
            <Figures
              figures={[
                {
                  name: "Consumer lag",
                  value: count(stream.lag),
                  unit: "messages",
                  meaning: lagMeaning(stream),
                },
                {
                  name: "Time to catch up",
                  value: duration(stream.drain_s),
                  unit: "at this rate",
                  meaning: drainMeaning(stream),
                },
                { name: "Classified", value: rounded(stream.rate), unit: "per second" },
                { name: "Arriving", value: rounded(stream.arriving), unit: "per second" },
                {
                  name: "Dead letters",
                  value: compact(stream.dead_letters),
                  unit: "in the dead-letter queue",
                  meaning: deadLetterMeaning(stream),
                },
                {
                  name: "CPU",
                  value: fixed(sumOf(stream, "cpu"), 2),
                  unit: "cores, all processes",
                  meaning: cpuMeaning(stream),
                },
                {
                  name: "Memory",
                  value: bytes(sumOf(stream, "rss_bytes")),
                  unit: "all processes",
                  meaning: memoryMeaning(stream),
                },
                { name: "Open alerts", value: count(stream.open_alerts), unit: "see Live" },
                {
                  name: "Notices",
                  value: count(allNotices(stream.notices)),
                  unit: noticesWords(stream.notices),
                },
              ]}
            />
          </>
        )}
      </QueryContent>
    </Panel>
  );
}

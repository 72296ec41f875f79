"use client";

import { usePanel } from "@/api/panels";
import { compact, count, duration, rounded } from "@/lib/formats";
import { Answer } from "@/ui/Answer";
import { Figures } from "@/ui/Figures";
import { Panel } from "@/ui/Panel";
import { StreamCharts } from "./StreamCharts";
import { Partitions, Processes, Workers } from "./StreamTables";

/** How the stream stands, looked at each second. */
export function Stream() {
  const query = usePanel("stream", {}, { every: 1000 });
  return (
    <>
      <Panel name="stream" title="Stream">
        <Answer query={query}>
          {(stream) => (
            <>
              <p className="sentence" data-testid="stream-state">
                The stream is <strong>{stream.state}</strong>
                {stream.detail && `: ${stream.detail}`}. Topic <code>{stream.topic}</code>, group{" "}
                <code>{stream.group}</code>
                {stream.target !== null &&
                  `, ${stream.target} workers wanted${stream.reason && ` (${stream.reason})`}`}
                .
              </p>
              {stream.broker && <p className="old">The broker does not answer: {stream.broker}</p>}
              {stream.warehouse && <p className="old">The warehouse does not answer: {stream.warehouse}</p>}
              <Figures
                figures={[
                  { name: "lag", value: count(stream.lag), unit: "messages behind" },
                  { name: "rate", value: rounded(stream.rate), unit: "judged a second" },
                  { name: "arriving", value: rounded(stream.arriving), unit: "a second" },
                  { name: "drained in", value: duration(stream.drain_s), unit: "at this rate" },
                  { name: "dead letters", value: compact(stream.dead_letters), unit: "kept aside" },
                  { name: "open alerts", value: count(stream.open_alerts), unit: "" },
                ]}
              />
            </>
          )}
        </Answer>
      </Panel>
      <StreamCharts stream={query.data} />
      <Workers query={query} />
      <Partitions query={query} />
      <Processes query={query} />
    </>
  );
}

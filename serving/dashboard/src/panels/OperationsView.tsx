"use client";

import { usePanel } from "@/api/panels";
import { useStream } from "@/api/stream";
import { ApiUse } from "./ApiUse";
import { FilterBar } from "./FilterBar";
import { HistoryCharts } from "./HistoryCharts";
import { Latency } from "./Latency";
import { Stream } from "./Stream";
import { StreamErrors } from "./StreamErrors";
import { Partitions, Processes, Workers } from "./StreamTables";
import { useTimes } from "./useWindow";

/** Throughput, lag, resource use and errors of the stream, and the API. */
export function OperationsView() {
  const { period } = useTimes();
  const stream = useStream(1000);
  const every = "span" in period && period.span.endsWith("m") ? 2000 : 10_000;
  const history = usePanel("history", {}, { period, every });
  const isOpening = stream.isPending || history.isPending;
  return (
    <>
      <div className="viewhead">
        <div>
          <h1>Operations</h1>
          <p className="lead">The stream that classifies messages, and the API of this service</p>
        </div>
        <FilterBar shown={["time"]} />
      </div>
      {isOpening ? (
        <p className="plain opening">Loading…</p>
      ) : (
        <div className="grid operations">
          <Stream query={stream} />
          <HistoryCharts history={history} stream={stream.data} />
          <Workers query={stream} />
          <Partitions query={stream} />
          <Processes query={stream} />
          <StreamErrors history={history} />
          <Latency />
          <ApiUse />
        </div>
      )}
    </>
  );
}

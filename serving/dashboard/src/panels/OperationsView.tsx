"use client";

import { ApiUse } from "./ApiUse";
import { FilterBar } from "./FilterBar";
import { Latency } from "./Latency";
import { Stream } from "./Stream";

/** How fast, how far behind, what it costs, what is broken. */
export function OperationsView() {
  return (
    <>
      <div className="viewhead">
        <h1>Operations</h1>
        <FilterBar shown={["span"]} />
      </div>
      <div className="grid operations">
        <Stream />
        <Latency />
        <ApiUse />
      </div>
    </>
  );
}

"use client";

import { liveStore } from "@/api/live";
import { useStore } from "@/lib/store";
import { Alerts } from "./Alerts";
import { FilterBar } from "./FilterBar";
import { Headline } from "./Headline";
import { Messages } from "./Messages";
import { ServedModel } from "./ServedModel";
import { Sources } from "./Sources";
import { TopNegative } from "./TopNegative";
import { Trend } from "./Trend";
import { Volume } from "./Volume";

/** How people feel now, how that changes, and whether something just broke. */
export function LiveView() {
  const { begunAt } = useStore(liveStore);
  return (
    <>
      <div className="viewhead stacked">
        <div>
          <h1>Customer sentiment, live</h1>
          <ServedModel />
        </div>
        <FilterBar shown={["source", "time", "by", "label", "profanity"]} />
      </div>
      {begunAt !== null ? (
        <div className="grid live">
          <Headline />
          <div className="column">
            <Trend />
            <Volume />
            <Messages />
          </div>
          <div className="column">
            <Alerts />
            <Sources />
            <TopNegative />
          </div>
        </div>
      ) : (
        <p className="plain opening">Connecting to the live data…</p>
      )}
    </>
  );
}

"use client";

import { liveStore } from "@/api/live";
import { useNow } from "@/lib/clock";
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

const GATHERING_S = 1;

/** The current sentiment, how it changes, and alerts. */
export function LiveView() {
  const { begunAt, messages } = useStore(liveStore);
  const now = useNow();
  // The parts of a snapshot arrive one after another; rendered one by one they would shift the layout.
  const isReady = begunAt !== null && (messages.length > 0 || now - begunAt >= GATHERING_S);
  return (
    <>
      <div className="viewhead stacked">
        <div>
          <h1>Customer sentiment, live</h1>
          <ServedModel />
        </div>
        <FilterBar shown={["source", "time", "by", "label", "profanity"]} />
      </div>
      {isReady ? (
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

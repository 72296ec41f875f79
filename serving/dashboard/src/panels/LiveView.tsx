"use client";

import { Alerts } from "./Alerts";
import { FilterBar } from "./FilterBar";
import { Headline } from "./Headline";
import { Messages } from "./Messages";
import { Sources } from "./Sources";
import { TopNegative } from "./TopNegative";
import { Trend } from "./Trend";
import { Volume } from "./Volume";

/** What is being said now, how it changes, and whether something just broke. */
export function LiveView() {
  return (
    <>
      <div className="viewhead">
        <h1>Live</h1>
        <FilterBar shown={["source", "span", "by", "label"]} />
      </div>
      <div className="grid live">
        <Headline />
        <Trend />
        <Volume />
        <Alerts />
        <Messages />
        <Sources />
        <TopNegative />
      </div>
    </>
  );
}

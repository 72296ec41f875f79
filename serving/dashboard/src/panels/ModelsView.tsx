"use client";

import { useState } from "react";
import { usePanel } from "@/api/panels";
import { Plain } from "@/ui/Plain";
import { Select } from "@/ui/Select";
import { Confusion } from "./Confusion";
import { FilterBar } from "./FilterBar";
import { Leaderboard } from "./Leaderboard";
import { Pareto } from "./Pareto";
import { Production } from "./Production";
import { Reliability } from "./Reliability";
import { Slices } from "./Slices";
import { Versions } from "./Versions";

const SELDOM_MS = 30_000;

/** Which model answers, how good and how fast it is beside the others, and how it got there. */
export function ModelsView() {
  const leaderboard = usePanel("leaderboard", {}, { every: SELDOM_MS });
  const production = usePanel("production", {}, { every: SELDOM_MS });
  const [chosen, choose] = useState("");
  const rows = leaderboard.data?.rows ?? [];
  const candidate =
    rows.find(({ name }) => name === chosen) ?? rows.find((row) => row.in_production) ?? rows[0];
  const missing = leaderboard.data?.missing;
  return (
    <>
      <div className="viewhead">
        <h1>Models</h1>
        <FilterBar shown={["source", "span"]} />
      </div>
      {missing && (
        <Plain state="model-unknown" title="No leaderboard here.">
          {missing}
        </Plain>
      )}
      <div className="grid models">
        <Production query={production} />
        <Leaderboard query={leaderboard} />
        <Pareto rows={rows} />
        {candidate && (
          <section className="detail" aria-label={`${candidate.name} in detail`}>
            <div className="choose">
              <Select
                name="In detail"
                value={candidate.name}
                options={rows.map(({ name, in_production }) => ({
                  value: name,
                  words: in_production ? `${name} (production)` : name,
                }))}
                onChange={choose}
              />
            </div>
            <Slices candidate={candidate} />
            <Confusion candidate={candidate} />
            <Reliability candidate={candidate} />
          </section>
        )}
        <Versions />
      </div>
    </>
  );
}

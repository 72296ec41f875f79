"use client";

import { useState } from "react";
import { useModel } from "@/api/model";
import { usePanel } from "@/api/panels";
import { Notice } from "@/ui/Notice";
import { Select } from "@/ui/Select";
import { AliasHistory } from "./AliasHistory";
import { Companies } from "./Companies";
import { Comparison } from "./Comparison";
import { Confusion } from "./Confusion";
import { MaskSwitch } from "./FilterBar";
import { GateRules } from "./GateRules";
import { Leaderboard } from "./Leaderboard";
import { OperatingPoints } from "./OperatingPoints";
import { Pareto } from "./Pareto";
import { Production } from "./Production";
import { Reliability } from "./Reliability";
import { Sarcasm } from "./Sarcasm";
import { Slices } from "./Slices";
import { TierShares } from "./TierShares";
import { Transfer } from "./Transfer";
import { Versions } from "./Versions";

const SELDOM_MS = 30_000;

/** The model in production, its quality and speed compared with other candidates, and its history. */
export function ModelsView() {
  const leaderboard = usePanel("leaderboard", {}, { every: SELDOM_MS });
  const production = usePanel("production", {}, { every: SELDOM_MS });
  const gate = usePanel("gate", {}, { every: SELDOM_MS });
  const transfer = usePanel("transfer", {}, { every: SELDOM_MS });
  const model = useModel();
  const [chosen, choose] = useState("");
  const rows = leaderboard.data?.rows ?? [];
  const candidate =
    rows.find(({ name }) => name === chosen) ?? rows.find((row) => row.in_production) ?? rows[0];
  const missing = leaderboard.data?.missing;
  const isOpening = [leaderboard, production, gate, model].some(({ isPending }) => isPending);
  return (
    <>
      <div className="viewhead">
        <div>
          <h1>Models</h1>
          <p className="lead">All measured on the same frozen test texts</p>
        </div>
        <div className="filters">
          <MaskSwitch />
        </div>
      </div>
      {isOpening ? (
        <p className="plain opening">Loading…</p>
      ) : (
        <div className="grid models">
          {missing && (
            <Notice state="model-unknown" title="No leaderboard here.">
              {missing}
            </Notice>
          )}
          <Production query={production} model={model} />
          <GateRules query={gate} />
          <Leaderboard query={leaderboard} />
          <Pareto rows={rows} />
          {model.data && <OperatingPoints model={model.data} />}
          <TierShares />
          <AliasHistory query={production} />
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
              <Sarcasm candidate={candidate} />
              <Companies candidate={candidate} />
              <Confusion candidate={candidate} />
              <Reliability candidate={candidate} />
            </section>
          )}
          <Transfer query={transfer} />
          <Comparison />
          <Versions />
        </div>
      )}
    </>
  );
}

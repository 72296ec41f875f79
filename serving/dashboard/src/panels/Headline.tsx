"use client";

import { usePanel } from "@/api/panels";
import { count, epoch, fixed, NONE, percent, signed, when } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { AVERAGE_S } from "@/lib/lines";
import { moodOf, pointsOf } from "@/lib/points";
import { LIVE_S, SPAN_WORDS } from "@/lib/spans";
import { tally } from "@/lib/windows";
import { LabelMark } from "@/ui/LabelMark";
import { ShareBar } from "@/ui/ShareBar";
import { isAlarm, newestAlerts, shiftOf } from "./alertWords";
import { useWindow } from "./useWindow";

const RATE_S = 10;
const NOT_YET_S = 2;
const UNKNOWN = "not known yet";

/** The whole in five seconds: how they feel, whether that changes, how many they are, whether something broke. */
export function Headline() {
  return (
    <section className="panel headline" aria-label="Now">
      <PointsNow />
      <RateNow />
      <Shares />
      <OpenAlerts />
    </section>
  );
}

function PointsNow() {
  const { live, source, now, isKnown } = useWindow();
  const recent = tally(live.cells, source, now - AVERAGE_S + 1, now + 1);
  const before = tally(live.cells, source, now - AVERAGE_S - LIVE_S + 1, now - AVERAGE_S);
  const points = recent.messages ? pointsOf(recent.score / recent.messages) : null;
  const change =
    points === null || !before.messages ? null : points - pointsOf(before.score / before.messages);
  return (
    <div className="figure">
      <h2>Sentiment now</h2>
      <p className="big">
        <span data-testid="points-now">{fixed(points, 1)}</span> <span className="unit">of 100</span>
      </p>
      <p className={points === null ? "quiet" : `mood ${toneOf(points)}`}>
        {points === null ? (isKnown ? "nothing in the last 30 seconds" : UNKNOWN) : moodOf(points)}
      </p>
      <p className="quiet">
        {change === null
          ? "no 10 minutes before to compare"
          : `${arrowOf(change)} ${signed(change, 1)} against the 10 min before`}
      </p>
    </div>
  );
}

function toneOf(points: number): string {
  if (points < 45) return "negative";
  return points <= 55 ? "neutral" : "positive";
}

function arrowOf(change: number): string {
  if (Math.abs(change) < 0.05) return "=";
  return change < 0 ? "▼" : "▲";
}

/** The newest seconds are not all in the warehouse yet, and would make the rate look low. */
function RateNow() {
  const { live, source, now, isKnown } = useWindow();
  const { messages } = tally(live.cells, source, now - NOT_YET_S - RATE_S + 1, now - NOT_YET_S);
  return (
    <div className="figure">
      <h2>Messages a second</h2>
      <p className="big">
        <span data-testid="rate-now">{fixed(isKnown ? messages / RATE_S : null, 1)}</span>
      </p>
      <p className="quiet">mean of {RATE_S} seconds</p>
    </div>
  );
}

function Shares() {
  const { live, source, span, seconds, now, first, isLive, isKnown } = useWindow();
  const asked = usePanel("distribution", { source }, { seconds, every: 5000, enabled: !isLive });
  const held = isKnown ? tally(live.cells, source, first, now + 1) : undefined;
  const counts = isLive ? held : asked.data?.rows[0];
  return (
    <div className="figure shares">
      <h2>
        Messages of the {SPAN_WORDS[span]}
        {counts && (
          <>
            : <span data-testid="messages-total">{count(counts.messages)}</span>
          </>
        )}
      </h2>
      <ShareBar counts={counts ?? { negative: 0, neutral: 0, positive: 0 }} />
      <dl>
        {LABELS.map((label) => (
          <div key={label}>
            <dt>
              <LabelMark label={label} />
            </dt>
            <dd>
              <strong>{percent(counts?.messages ? counts[label] / counts.messages : null)}</strong>{" "}
              {counts && (
                <span className="quiet" data-testid={`count-${label}`}>
                  {count(counts[label])}
                </span>
              )}
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function OpenAlerts() {
  const { live, source, now, isKnown } = useWindow();
  const open = newestAlerts(live.alerts, source).filter(isAlarm);
  const newest = open[0];
  return (
    <div className={`figure alerts ${newest ? "bad" : ""}`}>
      <h2>Open alerts</h2>
      <p className="big">
        <span data-testid="alerts-open">{isKnown ? open.length : NONE}</span>
      </p>
      {newest ? (
        <p>
          <strong>{newest.source}</strong> {shiftOf(newest)}, since {when(epoch(newest.started_at), now)}
        </p>
      ) : (
        <p className="quiet">{isKnown ? "no source is far from its normal" : UNKNOWN}</p>
      )}
    </div>
  );
}

"use client";

import { useFreshness, usePlaceholder } from "@/api/freshness";
import { usePanel } from "@/api/panels";
import { useStream } from "@/api/stream";
import { count, epoch, fixed, NONE, percent, plural, signed, timeOf, when } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { AVERAGE_S } from "@/lib/lines";
import { normalRange, watchedSources } from "@/lib/normal";
import { moodOf, pointsOf } from "@/lib/points";
import { LIVE_S } from "@/lib/spans";
import { tally } from "@/lib/windows";
import { Gauge } from "@/ui/Gauge";
import { LabelMark } from "@/ui/LabelMark";
import { ShareBar } from "@/ui/ShareBar";
import { isAlarm, newestAlerts, shiftOf } from "./alertWords";
import { useWindow } from "./useWindow";

const RATE_S = 10;
const NOT_YET_S = 2;

/** The state at a glance: sentiment and its change, the rate of messages, label shares, open alerts. */
export function Headline() {
  const fresh = useFreshness();
  const stale = fresh.state === "stale";
  return (
    <section
      className={`panel headline ${stale ? "dated" : ""}`}
      aria-label="Now"
      data-testid="headline"
      data-stale={stale}
    >
      <PointsNow />
      <RateNow />
      <Shares />
      <OpenAlerts />
      {stale && (
        <p className="asof" data-testid="headline-asof">
          {fresh.since === null ? "No data yet" : `Data as of ${timeOf(fresh.since)}`}: {fresh.cause}.
        </p>
      )}
    </section>
  );
}

/** The current second; while the data is stale, the last second with complete data. */
function useLast(): number {
  const { now } = useWindow();
  const fresh = useFreshness();
  return fresh.state === "stale" && fresh.since !== null ? Math.floor(fresh.since) : now;
}

function PointsNow() {
  const { live, source, isKnown } = useWindow();
  const last = useLast();
  const recent = tally(live.cells, source, last - AVERAGE_S + 1, last + 1);
  const before = tally(live.cells, source, last - AVERAGE_S - LIVE_S + 1, last - AVERAGE_S);
  const points = recent.messages ? pointsOf(recent.score / recent.messages) : null;
  const change =
    points === null || !before.messages ? null : points - pointsOf(before.score / before.messages);
  const placeholder = usePlaceholder();
  const normal = normalRange(live.cells, live.normal, source, last - AVERAGE_S + 1, last + 1);
  return (
    <div className="figure points">
      <h2>Sentiment now, mean of {AVERAGE_S} s</h2>
      <p className="big">
        <span data-testid="points-now">{fixed(points, 1)}</span> <span className="unit">of 100</span>{" "}
        <span className={`mood ${points === null ? "quiet" : toneOf(points)}`}>
          {points === null ? (isKnown ? "no messages" : placeholder) : moodOf(points)}
        </span>
      </p>
      <Gauge points={points} normal={normal} />
      <p className="quiet">
        {change === null
          ? "Not enough history to compare"
          : `${changeWords(change)} compared with the 10 minutes before`}
      </p>
    </div>
  );
}

function toneOf(points: number): string {
  if (points < 45) return "negative";
  return points <= 55 ? "neutral" : "positive";
}

function changeWords(change: number): string {
  if (Math.abs(change) < 0.05) return "no change";
  return `${change < 0 ? "▼" : "▲"} ${signed(change, 1)}`;
}

/** The newest seconds are left out: they are not complete in the warehouse yet, and would make the rate too low. */
function RateNow() {
  const { live, source, now, isKnown } = useWindow();
  const { messages } = tally(live.cells, source, now - NOT_YET_S - RATE_S + 1, now - NOT_YET_S);
  return (
    <div className="figure">
      <h2>Messages per second</h2>
      <p className="big">
        <span data-testid="rate-now">{fixed(isKnown ? messages / RATE_S : null, 1)}</span>
      </p>
      <p className="quiet">mean of {RATE_S} s</p>
    </div>
  );
}

function Shares() {
  const { live, source, period, words, first, last, isLive, isKnown } = useWindow();
  const stored = usePanel("distribution", { source }, { period, every: 5000, enabled: !isLive });
  const recent = isKnown ? tally(live.cells, source, first, last) : undefined;
  const counts = isLive ? recent : stored.data?.rows[0];
  return (
    <div className="figure shares">
      <h2>
        Messages, {words}
        {counts && (
          <>
            : <strong data-testid="messages-total">{count(counts.messages)}</strong>
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
        <p className="quiet" data-testid="alerts-words">
          <NormalWords />
        </p>
      )}
    </div>
  );
}

/** The text while no alert is open. "Normal" needs current data, a running alert process, and enough history. */
function NormalWords() {
  const { live, source, now } = useWindow();
  const fresh = useFreshness();
  const placeholder = usePlaceholder();
  const alerts = useStream().data?.others.find(({ name }) => name === "alerts");
  if (fresh.state === "stale" && fresh.since !== null) return <>Unknown since the data stopped</>;
  if (fresh.state === "empty") return <>No messages in the last 10 minutes</>;
  if (fresh.state !== "live") return <>{placeholder}</>;
  if (alerts && alerts.state !== "up") return <>Not monitored: the alert process is {alerts.state}</>;
  const cells = source ? new Map([[source, live.cells.get(source) ?? new Map()]]) : live.cells;
  const { watched, active } = watchedSources(cells, live.normal, now - LIVE_S, now);
  if (!watched) return <>Not enough history</>;
  if (source) return <>{source} is normal</>;
  if (watched === active) return <>All sources normal</>;
  return (
    <>
      {plural(watched, "source")} of {active} normal; the others have too little history
    </>
  );
}

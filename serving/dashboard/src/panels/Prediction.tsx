"use client";

import type { Schemas } from "@/api/client";
import { count, microseconds, milliseconds, percent, signed, usd } from "@/lib/formats";
import { LABELS, type Label } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";
import { MessageText } from "@/ui/MessageText";
import { ScrollBox } from "@/ui/ScrollBox";
import { ShareBar } from "@/ui/ShareBar";

/** The prediction of one text, or the reason why it cannot be classified. */
type Result = Schemas["ClassifyResponse"]["predictions"][number];
type TextWindow = NonNullable<Extract<Result, { label: Label }>["windows"]>[number];

interface Props {
  of: Result;
  /** The text that was classified. */
  text: string;
  /** The text in the field has changed since. */
  isOutdated: boolean;
  version: string;
  /** Round trip, in ms. */
  ms: number;
  cost: { cpu_us_per_text: number | null; usd_per_million_texts: number | null } | undefined;
}

const SHORT = 80;

/** The prediction for a text, with its duration and cost. */
export function Prediction({ of, text, isOutdated, version, ms, cost }: Props) {
  if ("error" in of)
    return (
      <p className="state bad" role="alert">
        The text {of.error}.
      </p>
    );
  return (
    <section
      className={`panel prediction ${isOutdated ? "outdated" : ""}`}
      aria-labelledby="title-prediction"
      aria-live="polite"
      data-testid="prediction"
      data-outdated={isOutdated}
    >
      <h2 id="title-prediction">
        {isOutdated ? "Prediction for the text before" : "Prediction"}: <LabelMark label={of.label} />,{" "}
        {percent(of.confidence)}
      </h2>
      <p className="note">
        {isOutdated
          ? `Of “${text.length > SHORT ? `${text.slice(0, SHORT)}…` : text}”. Classify the new text to update it.`
          : `Model ${version}`}
      </p>
      {of.warning && (
        <p className="caution" data-testid="language-warning">
          {of.warning}
        </p>
      )}
      <Bars probabilities={of.probabilities} />
      {typeof of.sarcasm === "number" && (
        <p className="note" data-testid="sarcasm">
          Sarcastic with a probability of {percent(of.sarcasm)}.
        </p>
      )}
      {of.targets && <Companies scores={of.targets} />}
      {of.windows && of.windows.length > 1 && <Windows windows={of.windows} />}
      <dl className="facts">
        <div>
          <dt>round trip</dt>
          <dd>{milliseconds(ms)}</dd>
        </div>
        <div>
          <dt>mean CPU per text</dt>
          <dd>{microseconds(cost?.cpu_us_per_text)}</dd>
        </div>
        <div>
          <dt>cost per million texts</dt>
          <dd>{usd(cost?.usd_per_million_texts)}</dd>
        </div>
      </dl>
    </section>
  );
}

function Bars({ probabilities }: { probabilities: Schemas["Probabilities"] | null | undefined }) {
  if (!probabilities) return null;
  return (
    <ul className="bars">
      {LABELS.map((label) => (
        <li key={label}>
          <LabelMark label={label} />
          <span className="bar" aria-hidden="true">
            <span className={label} style={{ width: `${100 * probabilities[label]}%` }} />
          </span>
          <span className="number">{percent(probabilities[label], 1)}</span>
        </li>
      ))}
    </ul>
  );
}

/** The sentiment towards each company. */
function Companies({ scores }: { scores: readonly Schemas["TargetScore"][] }) {
  return (
    <div className="windows">
      <h3>Sentiment towards each company, −1 to +1</h3>
      <dl className="facts" data-testid="companies">
        {scores.map(({ target, score, mentioned }) => (
          <div key={target}>
            <dt>
              {target}
              {!mentioned && " (not named in the text)"}
            </dt>
            <dd>{signed(score, 2)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** The parts of a long text, each with its own prediction. */
function Windows({ windows }: { windows: readonly TextWindow[] }) {
  return (
    <div className="windows" data-testid="windows">
      <h3>{count(windows.length)} parts</h3>
      <p className="note">
        The text is longer than the model reads at once. The prediction is the mean of its parts, weighted by
        their length.
      </p>
      <ScrollBox label="Parts of the text" tall>
        <ol>
          {windows.map(({ text, probabilities }, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: parts have no identity but their position
            <li key={at}>
              <p>
                <LabelMark label={mostLikely(probabilities)} />{" "}
                {percent(probabilities[mostLikely(probabilities)])}
              </p>
              <ShareBar counts={probabilities} />
              <MessageText text={text} />
            </li>
          ))}
        </ol>
      </ScrollBox>
    </div>
  );
}

function mostLikely(probabilities: Schemas["Probabilities"]): Label {
  return LABELS.reduce((best, label) => (probabilities[label] > probabilities[best] ? label : best));
}

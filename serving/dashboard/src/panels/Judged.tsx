"use client";

import type { Schemas } from "@/api/client";
import { fixed, percent, rounded, usd } from "@/lib/formats";
import { LABELS } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";

interface Props {
  answer: Schemas["Answer"] | Schemas["NotJudged"];
  version: string;
  /** Between the question and the answer. */
  ms: number;
  cost: { cpu_us_per_text: number | null; usd_per_million_texts: number | null } | undefined;
}

/** What the model says of a text, and what that took. */
export function Judged({ answer, version, ms, cost }: Props) {
  if ("error" in answer)
    return (
      <p className="state bad" role="alert">
        The text {answer.error}.
      </p>
    );
  return (
    <section className="panel judged" aria-labelledby="title-judged" aria-live="polite">
      <h2 id="title-judged">
        It sounds <LabelMark label={answer.label} />
      </h2>
      <Bars probabilities={answer.probabilities} />
      {answer.windows && answer.windows.length > 1 && (
        <p className="quiet">
          Longer than the model reads at once: the mean of {answer.windows.length} parts.
        </p>
      )}
      <dl className="facts">
        <div>
          <dt>there and back</dt>
          <dd>{fixed(ms, 1)} ms</dd>
        </div>
        <div>
          <dt>CPU a text, mean so far</dt>
          <dd>{rounded(cost?.cpu_us_per_text)} µs</dd>
        </div>
        <div>
          <dt>a million such texts</dt>
          <dd>{usd(cost?.usd_per_million_texts)}</dd>
        </div>
        <div>
          <dt>model version</dt>
          <dd>
            <code>{version}</code>
          </dd>
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

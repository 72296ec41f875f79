"use client";

import { useMutation } from "@tanstack/react-query";
import { wordsOf } from "@/api/client";
import { sendFeedback } from "@/api/model";
import { LABELS, type Label } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";

interface Props {
  text: string;
  predicted: Label;
  /** Another text is typed by now. */
  isOutdated: boolean;
  /** Name of the person, and its setter. */
  by: string;
  onBy: (by: string) => void;
}

/** The right label of a text, for the next training. */
export function Feedback({ text, predicted, isOutdated, by, onBy }: Props) {
  const sending = useMutation({ mutationFn: sendFeedback });
  const why = isOutdated
    ? "Classify the new text first."
    : by.trim()
      ? null
      : "Enter your name first: corrections are kept by name, and your latest correction of a text counts.";
  return (
    <section className="panel" aria-labelledby="title-feedback">
      <h2 id="title-feedback">Is this wrong? Choose the correct label</h2>
      <div className="row">
        <label className="field">
          <span>Your name or team</span>
          <input
            value={by}
            maxLength={200}
            autoComplete="nickname"
            onChange={(event) => onBy(event.target.value)}
          />
        </label>
        {LABELS.map((label) => (
          <button
            key={label}
            type="button"
            disabled={why !== null || sending.isPending}
            aria-describedby="feedback-said"
            onClick={() => sending.mutate({ text, label, by: by.trim() })}
          >
            <LabelMark label={label} />
            {label === predicted && <span className="unseen"> (as predicted)</span>}
          </button>
        ))}
      </div>
      <p className="note said" role="status" id="feedback-said" data-testid="feedback-said">
        {sending.isPending
          ? "Saving…"
          : sending.error
            ? `Not saved: ${wordsOf(sending.error)}`
            : (why ??
              (sending.isSuccess
                ? `Saved as ${sending.variables.label}; used in the next training run.`
                : `Choose the correct label; it is saved under “${by.trim()}” and used in the next training run.`))}
      </p>
    </section>
  );
}

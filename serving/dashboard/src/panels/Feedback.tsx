"use client";

import { useMutation } from "@tanstack/react-query";
import { errorMessage } from "@/api/client";
import { sendFeedback } from "@/api/model";
import { LABELS, type Label } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";

interface Props {
  text: string;
  predicted: Label;
  /** The text in the field has changed since. */
  isOutdated: boolean;
  /** The name of the user, and its setter. */
  by: string;
  onBy: (by: string) => void;
}

/** A form for the correct label of a text, used by the next training run. */
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
            aria-describedby="feedback-status"
            onClick={() => sending.mutate({ text, label, by: by.trim() })}
          >
            <LabelMark label={label} />
            {label === predicted && <span className="unseen"> (as predicted)</span>}
          </button>
        ))}
      </div>
      <p className="note status" role="status" id="feedback-status" data-testid="feedback-status">
        {sending.isPending
          ? "Saving…"
          : sending.error
            ? `Not saved: ${errorMessage(sending.error)}`
            : (why ??
              (sending.isSuccess
                ? `Saved as ${sending.variables.label}; used in the next training run.`
                : `Choose the correct label; it is saved under “${by.trim()}” and used in the next training run.`))}
      </p>
    </section>
  );
}

"use client";

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { wordsOf } from "@/api/client";
import { sendFeedback } from "@/api/model";
import { LABELS } from "@/lib/labels";
import { LabelMark } from "@/ui/LabelMark";

/** The right label of a text, for the next training. */
export function Feedback({ text }: { text: string }) {
  const [by, setBy] = useState("");
  const sending = useMutation({ mutationFn: sendFeedback });
  const kept = sending.isSuccess && sending.variables.label;
  return (
    <section className="panel" aria-labelledby="title-feedback">
      <h2 id="title-feedback">Wrong? Say what it is</h2>
      <div className="row">
        <label className="field">
          <span>Your name or desk</span>
          <input
            value={by}
            maxLength={200}
            autoComplete="nickname"
            onChange={(event) => setBy(event.target.value)}
          />
        </label>
        {LABELS.map((label) => (
          <button
            key={label}
            type="button"
            disabled={!by.trim() || sending.isPending}
            onClick={() => sending.mutate({ text, label, by: by.trim() })}
          >
            <LabelMark label={label} />
          </button>
        ))}
      </div>
      <p className="note" role="status" data-testid="feedback-said">
        {kept && `Kept as ${kept}, for the next training. The last word of each name counts.`}
        {sending.error && `Not kept: ${wordsOf(sending.error)}`}
        {sending.isIdle &&
          (by.trim() ? "Choose the right label." : "A name first: of each, the last word on a text counts.")}
      </p>
    </section>
  );
}

"use client";

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useRef, useState } from "react";
import { wordsOf } from "@/api/client";
import { classify, useModel } from "@/api/model";
import { Feedback } from "./Feedback";
import { Judged } from "./Judged";

/** A text of one's own, what the model says of it, and what that cost. */
export function TryItView() {
  const [text, setText] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const asking = useMutation({ mutationFn: classify });
  const model = useModel();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) asking.mutate(text, { onSuccess: () => void model.refetch() });
  };
  const prediction = asking.data?.answer.predictions[0];
  return (
    <>
      <div className="viewhead">
        <h1>Try it</h1>
      </div>
      <div className="grid try">
        <form className="panel" ref={form} onSubmit={submit}>
          <label className="field wide">
            <span>A text in English, of a sentence or a page</span>
            <textarea
              rows={6}
              value={text}
              placeholder="Great, my train is late again."
              onChange={(event) => setText(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.current?.requestSubmit();
              }}
            />
          </label>
          <div className="row">
            <button type="submit" className="main" disabled={!text.trim() || asking.isPending}>
              {asking.isPending ? "Judging…" : "Judge it"}
            </button>
            <span className="quiet">Ctrl + Enter</span>
          </div>
        </form>
        {asking.error && (
          <p className="state bad" role="alert">
            {wordsOf(asking.error)}
          </p>
        )}
        {asking.data && prediction && (
          <Judged
            answer={prediction}
            version={asking.data.answer.model_version}
            ms={asking.data.ms}
            cost={model.data?.cost}
          />
        )}
        {asking.variables && prediction && "label" in prediction && (
          <Feedback key={asking.submittedAt} text={asking.variables} />
        )}
      </div>
    </>
  );
}

"use client";

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { wordsOf } from "@/api/client";
import { classify, useModel } from "@/api/model";
import { count } from "@/lib/formats";
import { SAMPLES, sampleOf } from "@/lib/samples";
import { MOST_CHARS, sharedText, shareLink } from "@/lib/share";
import { CopyButton } from "@/ui/CopyButton";
import { Earlier, type Tried } from "./Earlier";
import { Feedback } from "./Feedback";
import { Prediction } from "./Prediction";
import { ServedModel } from "./ServedModel";
import { Snippets } from "./Snippets";

/** A text of one's own, what the model predicts for it, and what that cost. */
export function TryItView() {
  const [text, setText] = useState("");
  const [by, setBy] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const asking = useMutation({ mutationFn: classify });
  const model = useModel();
  const { mutate } = asking;
  const [tried, setTried] = useState<readonly Tried[]>([]);
  const send = (wanted: string) =>
    mutate(wanted, {
      onSuccess: ({ answer }) => {
        void model.refetch();
        const found = answer.predictions[0];
        if (found && "label" in found)
          setTried((before) => [
            { text: wanted, label: found.label, confidence: found.confidence },
            ...before.filter(({ text }) => text !== wanted),
          ]);
      },
    });
  const use = (wanted: string) => {
    setText(wanted);
    send(wanted);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, with the address that the page was opened with
  useEffect(() => {
    const shared = sharedText(location.hash);
    if (shared?.trim()) use(shared);
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) send(text);
  };
  const prediction = asking.data?.answer.predictions[0];
  const isOutdated = asking.variables !== undefined && asking.variables !== text;
  return (
    <>
      <div className="viewhead">
        <div>
          <h1>Try it</h1>
          <ServedModel />
        </div>
      </div>
      <div className="grid try">
        <form className="panel" ref={form} onSubmit={submit}>
          <label className="field wide">
            <span>Text in English, a sentence or a page</span>
            <textarea
              rows={7}
              value={text}
              placeholder="Great, my train is late again."
              onChange={(event) => setText(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.current?.requestSubmit();
              }}
            />
          </label>
          <p className="note limit" data-testid="sample-limit">
            {sampleOf(text)?.limit ?? `${count(text.length)} characters`}
          </p>
          <div className="row">
            <button type="submit" className="main" disabled={!text.trim() || asking.isPending}>
              {asking.isPending ? "Classifying…" : "Classify"}
            </button>
            <span className="quiet">Ctrl + Enter</span>
            <CopyButton
              words="Copy a link to this text"
              disabled={!text.trim() || text.length > MOST_CHARS}
              title={
                text.length > MOST_CHARS
                  ? `Too long for a link: over ${count(MOST_CHARS)} characters`
                  : undefined
              }
              text={() => shareLink(location.href, text)}
            />
          </div>
          <h2 className="sub" id="title-samples">
            Or try a sample
          </h2>
          <ul className="samples" aria-labelledby="title-samples">
            {SAMPLES.map((sample) => (
              <li key={sample.name}>
                <button type="button" aria-pressed={sample.text === text} onClick={() => use(sample.text)}>
                  {sample.name}
                </button>
              </li>
            ))}
          </ul>
        </form>
        <div className="column">
          {asking.error && (
            <p className="state bad" role="alert">
              {wordsOf(asking.error)}
            </p>
          )}
          {asking.data && prediction ? (
            <Prediction
              of={prediction}
              text={asking.variables ?? ""}
              isOutdated={isOutdated}
              version={asking.data.answer.model_version}
              ms={asking.data.ms}
              cost={model.data?.cost}
            />
          ) : (
            !asking.error && (
              <section className="panel" aria-labelledby="title-prediction">
                <h2 id="title-prediction">Prediction</h2>
                <p className="plain nothing" style={{ minHeight: 190 }}>
                  {asking.isPending ? "Classifying…" : "Type a text or choose a sample."}
                </p>
              </section>
            )
          )}
          {asking.variables && prediction && "label" in prediction && (
            <Feedback
              key={asking.submittedAt}
              text={asking.variables}
              predicted={prediction.label}
              isOutdated={isOutdated}
              by={by}
              onBy={setBy}
            />
          )}
        </div>
        <Earlier tried={tried} onChoose={use} />
        <Snippets text={text.trim() ? text : "Great service, thank you!"} />
      </div>
    </>
  );
}

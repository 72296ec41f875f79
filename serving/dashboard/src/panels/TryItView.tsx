"use client";

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { errorMessage } from "@/api/client";
import { classify, useModel, type Wanted } from "@/api/model";
import { companiesOf, MOST_COMPANIES } from "@/lib/companies";
import { count } from "@/lib/formats";
import { limitOf, SAMPLES } from "@/lib/samples";
import { MOST_CHARS, sharedText, shareLink } from "@/lib/share";
import { CopyButton } from "@/ui/CopyButton";
import { Earlier, type Tried } from "./Earlier";
import { Feedback } from "./Feedback";
import { Prediction } from "./Prediction";
import { ServedModel } from "./ServedModel";
import { Snippets } from "./Snippets";

/** Classify a text of the user, with the prediction and its cost. */
export function TryItView() {
  const [text, setText] = useState("");
  const [companies, setCompanies] = useState("");
  const [by, setBy] = useState("");
  const form = useRef<HTMLFormElement>(null);
  const classifying = useMutation({ mutationFn: classify });
  const model = useModel();
  const { mutate } = classifying;
  const [tried, setTried] = useState<readonly Tried[]>([]);
  const targets = model.data?.targets ? companiesOf(companies) : [];
  const send = (wanted: string) =>
    mutate({ text: wanted, targets } satisfies Wanted, {
      onSuccess: ({ response }) => {
        void model.refetch();
        const result = response.predictions[0];
        if (result && "label" in result)
          setTried((before) => [
            { text: wanted, label: result.label, confidence: result.confidence },
            ...before.filter(({ text }) => text !== wanted),
          ]);
      },
    });
  const use = (wanted: string) => {
    setText(wanted);
    send(wanted);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs once, with the address of the page when it was opened
  useEffect(() => {
    const shared = sharedText(location.hash);
    if (shared?.trim()) use(shared);
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) send(text);
  };
  const prediction = classifying.data?.response.predictions[0];
  const sent = classifying.variables;
  const isOutdated = sent !== undefined && (sent.text !== text || `${sent.targets}` !== `${targets}`);
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
          {model.data?.targets && (
            <label className="field wide">
              <span>Companies to score, at most {MOST_COMPANIES}, with commas between them (optional)</span>
              <input
                value={companies}
                placeholder="Tesco, $AAPL"
                onChange={(event) => setCompanies(event.target.value)}
              />
            </label>
          )}
          <p className="note limit" data-testid="sample-limit">
            {limitOf(text, Boolean(model.data?.sarcasm)) ?? `${count(text.length)} characters`}
          </p>
          <div className="row">
            <button type="submit" className="main" disabled={!text.trim() || classifying.isPending}>
              {classifying.isPending ? "Classifying…" : "Classify"}
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
          {classifying.error && (
            <p className="state bad" role="alert">
              {errorMessage(classifying.error)}
            </p>
          )}
          {classifying.data && prediction ? (
            <Prediction
              of={prediction}
              text={sent?.text ?? ""}
              isOutdated={isOutdated}
              version={classifying.data.response.model_version}
              ms={classifying.data.ms}
              cost={model.data?.cost}
            />
          ) : (
            !classifying.error && (
              <section className="panel" aria-labelledby="title-prediction">
                <h2 id="title-prediction">Prediction</h2>
                <p className="plain nothing" style={{ minHeight: 190 }}>
                  {classifying.isPending ? "Classifying…" : "Type a text or choose a sample."}
                </p>
              </section>
            )
          )}
          {sent && prediction && "label" in prediction && (
            <Feedback
              key={classifying.submittedAt}
              text={sent.text}
              predicted={prediction.label}
              isOutdated={isOutdated}
              by={by}
              onBy={setBy}
            />
          )}
        </div>
        <Earlier tried={tried} onChoose={use} />
        <Snippets text={text.trim() ? text : "Great service, thank you!"} targets={targets} />
      </div>
    </>
  );
}

"use client";

import { useState } from "react";

interface Props {
  words: string;
  /** The text to copy. */
  text: () => string;
  disabled?: boolean;
  /** Why it is disabled. */
  title?: string;
}

/** Copies a text and shows whether that worked. */
export function CopyButton({ words, text, disabled, title }: Props) {
  const [outcome, setOutcome] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setOutcome("Copied");
    } catch {
      setOutcome("Copying is not allowed here");
    }
    setTimeout(() => setOutcome(""), 2000);
  };
  return (
    <button type="button" className="small" disabled={disabled} title={title} onClick={copy}>
      <span aria-live="polite">{outcome || words}</span>
    </button>
  );
}

"use client";

import Markdown, { type Components } from "react-markdown";
import tables from "remark-gfm";

// The page has an h1 and the panel an h2, so the card's own headings begin at h3.
const LOWER: Components = { h1: "h3", h2: "h4", h3: "h5" };

/** A model card. HTML in it is not rendered. */
export default function Card({ text }: { text: string }) {
  return (
    <div className="prose">
      <Markdown components={LOWER} remarkPlugins={[tables]}>
        {text}
      </Markdown>
    </div>
  );
}

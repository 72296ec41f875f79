"use client";

import { maskStore } from "@/lib/preferences";
import { useStore } from "@/lib/store";
import { readable } from "@/lib/texts";

const MOST_CHARS = 500;

/** The text of a message: entities decoded, profanity masked unless that is switched off, very long texts cut. */
export function MessageText({ text }: { text: string }) {
  const masked = useStore(maskStore);
  const shown = readable(text.slice(0, 2 * MOST_CHARS), masked);
  const cut = shown.length > MOST_CHARS || text.length > 2 * MOST_CHARS;
  return (
    <bdi className="text">
      {cut ? shown.slice(0, MOST_CHARS) : shown}
      {cut && <span className="quiet">… ({text.length.toLocaleString("en-US")} characters)</span>}
    </bdi>
  );
}

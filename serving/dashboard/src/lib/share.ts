/** A text in an address, after the `#`: browsers do not send that part, so it stands in no log. */

const NAME = "text=";
/** Longer addresses are cut by programs that pass them on. */
export const MOST_CHARS = 4000;

export function shareLink(address: string, text: string): string {
  return `${address.split("#")[0]}#${NAME}${encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, "\ufffd"))}`;
}

/** The text of an address, or null. */
export function sharedText(hash: string): string | null {
  const value = hash.replace(/^#/, "");
  if (!value.startsWith(NAME)) return null;
  try {
    return decodeURIComponent(value.slice(NAME.length));
  } catch {
    return null;
  }
}

/** A text in an address, after the `#`: browsers do not send that part, so no log contains it. */

const NAME = "text=";
/** The most characters of a text in a link: some programs cut longer addresses. */
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

/** The same request from a program, to paste into a shell or a Python file. */

import type { Wanted } from "@/api/model";

export function curlSnippet(origin: string, { text, targets }: Wanted): string {
  const body = JSON.stringify({ texts: [text], detail: true, ...(targets.length ? { targets } : {}) });
  return [
    `curl -s ${quoted(`${origin}/v1/classify`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  --data-raw ${quoted(body)}`,
  ].join("\n");
}

export function pythonSnippet(origin: string, { text, targets }: Wanted): string {
  const asked = targets.length ? `, "targets": [${targets.map(literal).join(", ")}]` : "";
  return [
    "import httpx",
    "",
    "response = httpx.post(",
    `    ${literal(`${origin}/v1/classify`)},`,
    `    json={"texts": [${literal(text)}], "detail": True${asked}},`,
    ")",
    "response.raise_for_status()",
    'print(response.json()["predictions"][0])',
  ].join("\n");
}

/** Quote for a POSIX shell: between single quotes only the single quote is special. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A Python string literal: a JSON string with the characters escaped that JSON allows and Python does not. */
function literal(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u00a0\u2028\u2029\ufeff]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

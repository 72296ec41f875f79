/** How a program asks the same: to be pasted into a shell or a Python file. */

export function curlSnippet(origin: string, text: string): string {
  const body = JSON.stringify({ texts: [text], detail: true });
  return [
    `curl -s ${quoted(`${origin}/v1/classify`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  --data-raw ${quoted(body)}`,
  ].join("\n");
}

export function pythonSnippet(origin: string, text: string): string {
  return [
    "import httpx",
    "",
    "response = httpx.post(",
    `    ${literal(`${origin}/v1/classify`)},`,
    `    json={"texts": [${literal(text)}], "detail": True},`,
    ")",
    "response.raise_for_status()",
    'print(response.json()["predictions"][0])',
  ].join("\n");
}

/** For a POSIX shell: nothing between single quotes means anything but a single quote. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A JSON string is a Python string too, once what JSON leaves as it is and Python does not is escaped. */
function literal(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u00a0\u2028\u2029\ufeff]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

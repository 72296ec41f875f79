import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { companiesOf } from "@/lib/companies";
import { limitOf, SAMPLES, sampleOf } from "@/lib/samples";
import { sharedText, shareLink } from "@/lib/share";
import { sliceWords } from "@/lib/slices";
import { curlSnippet, pythonSnippet } from "@/lib/snippets";

const NASTY = [
  "It's $HOME `ls` \\n \"quoted\" 'single' !! ; rm -rf x",
  "line one\nline two\ttab \\",
  "emoji 😡 é \u2028 \u0085 \u007f",
  "'''\"\"\" # { } %s",
  "",
];

test("a shell reads the original text from the curl snippet", () => {
  for (const text of NASTY) {
    const command = curlSnippet("http://127.0.0.1:3000", { text, targets: [] }).replace(
      "curl -s",
      "printf '%s\\0'",
    );
    const args = execFileSync("sh", ["-c", command], { encoding: "utf8" }).split("\0");
    assert.equal(args[0], "http://127.0.0.1:3000/v1/classify");
    assert.deepEqual(JSON.parse(args[4] ?? ""), { texts: [text], detail: true });
  }
});

test("the literal in the Python snippet is JSON without characters that Python reads differently", () => {
  for (const text of NASTY) {
    const snippet = pythonSnippet("http://h", { text, targets: [] });
    assert.equal(snippet.split("\n").length, 8, "a text never breaks a line");
    const literal = /"texts": \[(".*")\]/.exec(snippet)?.[1] ?? "";
    assert.equal(JSON.parse(literal), text);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these characters must not occur
    assert.ok(!/[\u0000-\u001f\u007f-\u00a0\u2028\u2029]/.test(literal));
  }
});

test("a link returns its text, and any other hash returns null", () => {
  for (const text of NASTY) {
    const link = shareLink("http://h/try/?span=1h#old", text);
    assert.ok(link.startsWith("http://h/try/?span=1h#text="));
    assert.equal(sharedText(new URL(link).hash), text);
  }
  assert.doesNotThrow(() => shareLink("http://h/", "half of an emoji \ud83d"));
  for (const hash of ["", "#main", "#text=%E0%A4%A", "#t=x"]) assert.equal(sharedText(hash), null);
});

test("the samples include emoji, a long text and sarcasm", () => {
  assert.ok(SAMPLES.some(({ text }) => /\p{Emoji_Presentation}/u.test(text)));
  assert.ok(SAMPLES.some(({ text }) => text.length > 800));
  assert.match(sampleOf("Oh great, another outage. Third one this week, well done.")?.limit ?? "", /sarcasm/);
  const sarcastic = SAMPLES.find(({ ofSarcasm }) => ofSarcasm)?.text ?? "";
  assert.match(limitOf(sarcastic, false) ?? "", /does not detect sarcasm/);
  assert.equal(limitOf(sarcastic, true), undefined);
  assert.match(limitOf(SAMPLES.at(-1)?.text ?? "", true) ?? "", /English only/);
  assert.equal(new Set(SAMPLES.map(({ text }) => text)).size, SAMPLES.length);
});

test("a slice is named in words; two names of the same rows are joined", () => {
  assert.equal(sliceWords(["source=airline", "domain=support"]), "dataset airline · domain support");
  assert.equal(sliceWords(["length=short"]), "short texts");
  assert.equal(sliceWords(["negation"]), "negation");
});

test("names of companies are split at commas, once each, and sent only where there are any", () => {
  assert.deepEqual(companiesOf(" Tesco, $AAPL ,,Tesco, "), ["Tesco", "$AAPL"]);
  assert.equal(companiesOf(Array.from({ length: 20 }, (_, at) => `c${at}`).join(",")).length, 8);
  const wanted = { text: "Tesco up", targets: ["Tesco", "A'B"] };
  assert.match(pythonSnippet("http://h", wanted), /"targets": \["Tesco", "A'B"\]/);
  assert.doesNotMatch(curlSnippet("http://h", { ...wanted, targets: [] }), /targets/);
});

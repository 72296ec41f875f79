import assert from "node:assert/strict";
import { test } from "node:test";
import { breakable, decodeEntities, maskProfanity, readable } from "@/lib/texts";

test("entities are decoded, also those that were escaped twice", () => {
  assert.equal(decodeEntities("1&amp;2 &#039;x&#39; &lt;3 &quot;&hellip;&quot;"), `1&2 'x' <3 "…"`);
  assert.equal(decodeEntities("&amp;amp;#39;"), "'");
  assert.equal(decodeEntities("&#x1F600; &#128512;"), "😀 😀");
  assert.equal(decodeEntities("&eacute;&Eacute;&nbsp;|"), "éÉ\u00a0|");
});

test("text that is not an entity stays", () => {
  for (const text of ["AT&T", "a & b", "&unknownthing;", "&;", "&#;", "&#x;", "&#99999999;", "R&D; x"])
    assert.equal(decodeEntities(text), text);
});

test("decoded markup stays text", () => {
  assert.equal(decodeEntities("&lt;script&gt;"), "<script>", "React shows it as text");
  assert.equal(decodeEntities("&#0;&#xD800;"), "\ufffd\ufffd");
});

test("profanity is masked in any case, and words that contain it are not", () => {
  assert.equal(maskProfanity("what the fuck is this SHIT"), "what the f*** is this S***");
  assert.equal(
    maskProfanity("class assessment in Scunthorpe, a cocktail"),
    "class assessment in Scunthorpe, a cocktail",
  );
  assert.equal(maskProfanity("a$$hole").includes("$$hole"), false);
  assert.equal(maskProfanity("flight 455, gate 8008, $455"), "flight 455, gate 8008, $455");
});

test("a text is decoded, and masked only on request", () => {
  assert.equal(readable("&#039;shit&#039;", true), "'s***'");
  assert.equal(readable("&#039;shit&#039;", false), "'shit'");
  assert.equal(readable("s&#104;it", true), "s***", "an entity does not bypass the mask");
});

test("the cache of texts has a limit", () => {
  for (let n = 0; n < 2100; n++) assert.equal(readable(`text ${n}`, true), `text ${n}`);
});

test("a name is split at its separators only", () => {
  assert.deepEqual(breakable("tweeteval_sentiment"), ["tweeteval_", "sentiment"]);
  assert.deepEqual(breakable("sentiment.messages.demo-1"), ["sentiment.", "messages.", "demo-", "1"]);
  for (const name of ["", "support", "a_b", "__", "ä-ö"]) assert.equal(breakable(name).join(""), name);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { bucket, bytes, duration, milliseconds, NONE, plural, rangeOf, signed } from "@/lib/formats";
import { inputOf, parseInput } from "@/lib/inputs";

test("a duration has the most readable unit", () => {
  const cases: [number, string][] = [
    [0, "0 ms"],
    [0.0004, "0.4 ms"],
    [0.617, "617 ms"],
    [0.9996, "1.0 s"],
    [9.46, "9.5 s"],
    [9.97, "10 s"],
    [32.297, "32 s"],
    [54.1863, "54 s"],
    [119.6, "2 min"],
    [200, "3 min 20 s"],
    [3599.7, "1 h"],
    [7500, "2 h 5 min"],
    [86_399, "1 d"],
    [356_400, "4 d 3 h"],
  ];
  for (const [seconds, words] of cases) assert.equal(duration(seconds), words);
  assert.equal(duration(null), NONE);
  assert.equal(milliseconds(54_186.3), "54 s");
});

test("a duration never has more than three digits before its unit, at any size", () => {
  for (let seconds = 1e-5; seconds < 1e7; seconds *= 1.013) {
    const words = duration(seconds);
    assert.match(words, /^\d{1,3}(\.\d)? (ms|s|min|h|d)( \d{1,2} (s|min|h))?$/, `${seconds}: ${words}`);
    assert.ok(!/(min 60 s|h 60 min|d 24 h|1000 ms)/.test(words), `${seconds}: ${words}`);
  }
});

test("a quantile of a histogram is the edge of its bucket", () => {
  assert.equal(bucket({ ms: 250, beyond: false }), "≤ 250 ms");
  assert.equal(bucket({ ms: 2500, beyond: true }), "> 2.5 s");
  assert.equal(bucket({ ms: 1000, beyond: false }), "≤ 1 s");
  assert.equal(bucket({ ms: 0.5, beyond: false }), "≤ 0.5 ms");
  assert.equal(bucket(null), NONE);
});

test("bytes have three digits at most", () => {
  assert.equal(bytes(331_000_000), "316 MiB");
  assert.equal(bytes(0), "0 B");
  for (let size = 1; size < 1e14; size *= 1.37) assert.match(bytes(size), /^\d{1,3}(\.\d)? ([KMGT]i)?B$/);
});

test("one is singular, and a change of zero has the sign ±", () => {
  assert.equal(plural(1, "worker"), "1 worker");
  assert.equal(plural(1200, "message"), "1,200 messages");
  assert.equal(signed(-0.04, 1), "±0.0");
  assert.equal(signed(-2.04, 1), "−2.0");
});

test("a range names its day once", () => {
  const day = new Date(2026, 10, 28, 6, 30).getTime() / 1000;
  assert.equal(rangeOf(day, day + 600), "28 Nov, 06:30 to 06:40:00");
  assert.match(rangeOf(day, day + 86_400), /28 Nov, 06:30 to 29 Nov, 06:30/);
});

test("a time survives its input field", () => {
  for (const at of [0, 1_795_850_000, 1_751_320_800]) assert.equal(parseInput(inputOf(at)), at);
  assert.equal(parseInput(""), null);
});

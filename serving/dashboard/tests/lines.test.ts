import assert from "node:assert/strict";
import { test } from "node:test";
import { AVERAGE_S, cellsOf, filled, lastIndex, liveLines, pastLines, sparkOf } from "@/lib/lines";
import { normalRange, watchedSources } from "@/lib/normal";
import { busiest, type Cells, moving, newestSecond, perSecond, type Tally, tally } from "@/lib/windows";

const cell = (negative: number, neutral: number, positive: number): Tally => ({
  negative,
  neutral,
  positive,
  messages: negative + neutral + positive,
  score: positive - negative,
});
const cells: Cells = new Map([
  ["shop", new Map([[100, cell(2, 0, 0)], [101, cell(0, 1, 1)], [140, cell(0, 0, 4)]])],
  ["news", new Map([[101, cell(0, 3, 0)]])],
]); // biome-ignore format: one second each
const row = (at: number, source: string, points: number, messages = 10) => ({
  bucket: new Date(at * 1000).toISOString(),
  source,
  points,
  messages,
  negative: messages,
  neutral: 0,
  positive: 0,
});

test("a window counts each message once", () => {
  assert.equal(tally(cells, "", 100, 140).messages, 11);
  assert.equal(tally(cells, "shop", 101, 139).messages, 2);
  assert.deepEqual(
    perSecond(cells, "", 100, 102).map(({ messages }) => messages),
    [2, 5, 0],
  );
  assert.deepEqual(busiest(cells, 100, 140, 5), ["shop", "news"]);
  assert.equal(newestSecond(cells), 140);
});

test("a tally of any range is the sum of its seconds", () => {
  for (let first = 95; first < 145; first += 3) {
    for (let last = first - 2; last < 150; last += 5) {
      const wanted = perSecond(cells, "shop", first, Math.max(first - 1, last)).reduce(
        (sum, { messages }) => sum + messages,
        0,
      );
      assert.equal(tally(cells, "shop", first, last).messages, wanted, `${first} to ${last}`);
    }
  }
});

test("a moving window is the sum of its seconds, without a rounding error", () => {
  const seconds = Array.from({ length: 50 }, (_, at) => (at % 7 ? cell(at % 3, 1, at % 2) : cell(0, 0, 0)));
  const windows = moving(seconds, 5);
  for (const [at, window] of windows.entries()) {
    const wanted = seconds
      .slice(Math.max(0, at - 4), at + 1)
      .reduce((sum, { messages }) => sum + messages, 0);
    assert.equal(window.messages, wanted);
  }
  assert.equal(moving([cell(1, 0, 0), ...Array(6).fill(cell(0, 0, 0))], 3).at(-1)?.score, 0);
});

test("a live line is the mean of the last half minute", () => {
  const { lines, raw, times } = liveLines({ cells, since: 0 }, "", "", 100, 141);
  assert.equal(times.length, 42);
  assert.equal(lines[0]?.values[0], 0, "two negative messages");
  assert.equal(lines[0]?.values[30], 60, "second 130: those of 101 to 130");
  assert.equal(raw?.[40], 100);
  assert.equal(lastIndex({ times, lines }), 41);
});

test("seconds of the warehouse give the same lines as those of the live socket", () => {
  const rows = [100, 101, 140].map((at) => {
    const counts = cells.get("shop")?.get(at) as Tally;
    return {
      ...counts,
      bucket: new Date(at * 1000).toISOString(),
      source: "",
      points: 50 + (50 * counts.score) / counts.messages,
    };
  });
  const stored = liveLines({ cells: cellsOf(rows, ""), since: 100 - AVERAGE_S }, "", "", 100, 141);
  assert.deepEqual(stored.lines, liveLines({ cells, since: 0 }, "", "shop", 100, 141).lines);
});

test("a time without messages is a gap in the line", () => {
  const { times, lines } = pastLines([row(0, "", 40), row(60, "", 50), row(240, "", 60)], "", 60);
  assert.deepEqual(times, [0, 60, 120, 180, 240]);
  assert.deepEqual(lines[0]?.values, [40, 50, null, null, 60]);
});

test("the busiest five sources have a line each", () => {
  const rows = Array.from({ length: 7 }, (_, at) => row(60 * at, `s${at}`, 50, at + 1));
  const { lines } = pastLines(rows, "source", 60);
  assert.deepEqual(
    lines.map(({ name }) => name),
    ["s6", "s5", "s4", "s3", "s2"],
  );
  assert.deepEqual(filled([], 60), []);
});

test("a sparkline has a value each half minute and gaps between", () => {
  assert.deepEqual(sparkOf(cells, "shop", 90, 149), [37.5, 100]);
  assert.deepEqual(sparkOf(cells, "unknown", 90, 149), [null, null]);
});

const normal = { at: 0, mean: 0, variance: 0.5, drift: 0, threshold: 1 };

test("the normal range is wider for fewer messages, and null for a source without one", () => {
  const [low, high] = normalRange(cells, { shop: normal }, "shop", 100, 140) ?? [];
  const [lower, higher] = normalRange(cells, { shop: normal }, "shop", 100, 100) ?? [];
  assert.ok(low !== undefined && high !== undefined && lower !== undefined && higher !== undefined);
  assert.ok(lower < low && low < 50 && high < higher && higher <= 100);
  assert.equal(normalRange(cells, { shop: normal }, "", 100, 140), null, "news has none");
  assert.equal(normalRange(cells, { shop: normal }, "shop", 200, 300), null, "no messages");
});

test("the normal range of all sources is weighted by their messages", () => {
  const both = { shop: { ...normal, mean: -0.5, variance: 0 }, news: { ...normal, mean: 0.5, variance: 0 } };
  const [low, high] = normalRange(cells, both, "", 100, 140) ?? [];
  assert.ok(Math.abs((low ?? 0) - (high ?? 1)) < 1e-9);
  assert.ok(Math.abs((low ?? 0) - (50 + 50 * ((8 * -0.5 + 3 * 0.5) / 11))) < 1e-9);
});

test("sources with messages and sources with normal values are counted separately", () => {
  assert.deepEqual(watchedSources(cells, { shop: normal }, 100, 140), { watched: 1, active: 2 });
  assert.deepEqual(watchedSources(cells, {}, 200, 300), { watched: 0, active: 0 });
});

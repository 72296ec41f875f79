import assert from "node:assert/strict";
import { test } from "node:test";
import { shareLines } from "@/lib/tiers";

test("each tier has a share of every bucket with messages, and no value in a gap", () => {
  const rows = [
    { at: 120, tier: "small", messages: 3 },
    { at: 0, tier: "base", messages: 4 },
    { at: 120, tier: "base", messages: 1 },
  ];
  assert.deepEqual(shareLines(rows, "minute"), {
    times: [0, 60, 120],
    lines: [
      { name: "base", values: [1, null, 0.25] },
      { name: "small", values: [0, null, 0.75] },
    ],
  });
});

test("seconds are counted by minute", () => {
  const rows = [59, 60, 61, 119].map((at) => ({ at, tier: at === 61 ? "base" : "small", messages: 1 }));
  const { times, lines } = shareLines(rows, "second");
  assert.deepEqual(times, [0, 60]);
  assert.deepEqual(lines[1], { name: "small", values: [1, 2 / 3] });
});

test("no messages have no lines", () => {
  assert.deepEqual(shareLines([], "hour"), { times: [], lines: [] });
});

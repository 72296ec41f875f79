import assert from "node:assert/strict";
import { test } from "node:test";
import { clipOf, decadeRange, isDecade } from "@/lib/axes";
import { pointsRange } from "@/lib/points";

test("a logarithmic axis begins and ends at decades, with room", () => {
  for (let low = 0.013; low < 1e5; low *= 1.9) {
    for (const wide of [1, 3, 100, 5000]) {
      const [from, to] = decadeRange(low, low * wide);
      assert.ok(isDecade(from) && isDecade(to), `${low} to ${low * wide}: ${from} to ${to}`);
      assert.ok(from < low && to > low * wide);
    }
  }
  assert.deepEqual(decadeRange(45.6, 7144), [10, 10_000]);
  assert.deepEqual(decadeRange(100, 1000), [10, 10_000]);
});

test("only decades are labeled", () => {
  assert.deepEqual([10, 12.3, 100, 102, 1000, 1020, 0.1].filter(isDecade), [10, 100, 1000, 0.1]);
});

test("a burst is cut and usual values are not", () => {
  const usual = Array.from({ length: 600 }, (_, at) => 4 + (at % 5));
  assert.equal(clipOf(usual), null);
  const burst = usual.map((value, at) => (at === 300 ? 5000 : value));
  const clip = clipOf(burst) ?? 0;
  assert.ok(clip >= 8 && clip < 100);
  const crisis = usual.map((value, at) => (at > 500 && at < 545 ? 3 * value : value));
  assert.equal(clipOf(crisis), null, "three times the usual count is not cut");
});

test("at most one bar in twenty is cut for any values", () => {
  let seed = 1;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  for (let round = 0; round < 300; round++) {
    const values = Array.from({ length: Math.floor(random() * 200) }, () =>
      Math.floor(random() ** (1 + 8 * random()) * 10 ** (4 * random())),
    );
    const clip = clipOf(values);
    if (clip === null) continue;
    const filled = values.filter(Boolean);
    assert.ok(filled.filter((value) => value > clip).length <= Math.ceil(filled.length / 20));
    assert.ok(Math.max(...values) > 2 * clip);
  }
});

test("a fitted axis of points contains its values and is never flat", () => {
  for (let low = 0; low <= 100; low += 7) {
    for (let high = low; high <= 100; high += 9) {
      const [from, to] = pointsRange(low, high);
      assert.ok(from <= low && to >= high && to - from >= 30 && from >= 0 && to <= 100);
    }
  }
});

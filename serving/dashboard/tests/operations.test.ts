import assert from "node:assert/strict";
import { test } from "node:test";
import { allNotices, catchingUp, noticesWords, stateWords, workersWords } from "@/api/stream";
import { processLines, stepsOf } from "@/lib/history";
import {
  deadLetterMeaning,
  drainMeaning,
  heartbeatMeaning,
  lagMeaning,
  memoryMeaning,
} from "@/lib/thresholds";

const row = (at: number, cpu: Record<string, number>) => ({
  at,
  lag: 1,
  rate: 1,
  arriving: 1,
  workers: 1,
  target: 1,
  cpu,
  rss_bytes: {},
  dead_letters: 0,
  restarts: 0,
});
const worker = { state: "running", cpu: 0.5, rss_bytes: 2 ** 30 };
const stream = {
  state: "running",
  detail: "",
  lag: 10,
  drain_s: 1,
  lag_limit: 1000,
  drain_limit_s: 30,
  dead_letters: 0,
  target: 1,
  reason: "within the limits",
  cores: 2,
  memory_bytes: 2 ** 32,
  workers: [worker],
  others: [],
} as unknown as Parameters<typeof lagMeaning>[0];

test("steps in which no supervisor ran have no values", () => {
  const { times, rows } = stepsOf({ since: "", until: "", step_s: 5, rows: [row(10, {}), row(25, {})] });
  assert.deepEqual(times, [10, 15, 20, 25]);
  assert.deepEqual(rows.map(Boolean), [true, false, false, true]);
});

test("each process has a line; many workers share one", () => {
  const few = processLines([row(0, { w1: 0.2, alerts: 0.1 }), null, row(2, { w1: 0.4 })], "cpu");
  assert.deepEqual(few, [
    { name: "alerts", values: [0.1, null, null] },
    { name: "w1", values: [0.2, null, 0.4] },
  ]);
  const many = { w1: 1, w2: 1, w3: 1, w4: 1, w5: 1, warehouse: 2 };
  assert.deepEqual(processLines([row(0, many)], "cpu"), [
    { name: "5 workers", values: [5] },
    { name: "warehouse", values: [2] },
  ]);
});

test("a number with a limit has words and not only a color", () => {
  assert.deepEqual(lagMeaning(stream), { tone: "good", words: "ok, limit 1,000" });
  assert.equal(lagMeaning({ ...stream, lag: 900 })?.tone, "warn");
  assert.deepEqual(lagMeaning({ ...stream, lag: 1001 }), { tone: "bad", words: "high, limit 1,000" });
  assert.equal(lagMeaning({ ...stream, lag: null }), null);
  assert.equal(lagMeaning({ ...stream, state: "not supervised" })?.words, "no worker reads them");
  assert.equal(drainMeaning({ ...stream, drain_s: 31 })?.tone, "bad");
  assert.equal(deadLetterMeaning(stream)?.words, "none");
  assert.match(deadLetterMeaning({ ...stream, dead_letters: 3 })?.words ?? "", /dlq list/);
  assert.equal(memoryMeaning(stream)?.words, "25 % of 4.0 GiB");
  assert.deepEqual(
    [0.9, 12, 40].map((age) => heartbeatMeaning(age)?.tone),
    ["good", "warn", "bad"],
  );
});

test("a stream with a high lag is catching up", () => {
  assert.equal(catchingUp(stream), false);
  assert.equal(catchingUp({ ...stream, lag: 3200 }), true);
  assert.equal(catchingUp({ ...stream, drain_s: 45 }), true);
  assert.equal(catchingUp({ ...stream, lag: null, drain_s: null }), false);
});

test("running workers are counted in words", () => {
  assert.equal(workersWords(stream), "1 worker, as planned");
  assert.equal(workersWords({ ...stream, target: 2 }), "1 of 2 workers running");
  assert.equal(
    workersWords({ ...stream, target: 2, reason: "3,000 messages wait" }),
    "1 of 2 workers running (3,000 messages wait)",
  );
  assert.equal(stateWords({ ...stream, state: "not supervised" }), "not running");
});

test("notices are counted by kind", () => {
  const notices = { delete: 1200, user_suspend: 1 };
  assert.equal(allNotices(notices), 1201);
  assert.equal(noticesWords(notices), "1,200 delete, 1 user suspend");
  assert.equal(allNotices({}), 0);
  assert.equal(allNotices(null), null);
  assert.equal(noticesWords({}), "deletions and the like");
});

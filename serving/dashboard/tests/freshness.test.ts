import assert from "node:assert/strict";
import { test } from "node:test";
import { freshnessOf } from "@/lib/freshness";

const NOW = 1_795_850_000;
const at = (seconds: number) => ({ event_at: new Date(seconds * 1000).toISOString() });
const live = {
  connection: "live" as const,
  begunAt: NOW - 100,
  warehouseError: null,
  knownTo: NOW,
  cells: new Map(),
  messages: [at(NOW - 2)],
};

test("a page with a recent message is live", () => {
  assert.deepEqual(freshnessOf(live, null, NOW), { state: "live" });
});

test("missing data is stale, with its time and its cause", () => {
  const cases: [object, string | null, number | null, string][] = [
    [{ connection: "reconnecting", knownTo: NOW - 9 }, null, NOW - 9, "cannot reach the service"],
    [
      { warehouseError: "The message database is not running.", knownTo: NOW - 7 },
      null,
      NOW - 7,
      "message database not running",
    ],
    [{ knownTo: NOW - 5 }, "503", NOW - 5, "message database not running"],
    [{ messages: [at(NOW - 61)] }, null, NOW - 61, "no new messages"],
  ];
  for (const [changes, warehouse, since, cause] of cases)
    assert.deepEqual(freshnessOf({ ...live, ...changes }, warehouse, NOW), { state: "stale", since, cause });
});

test("a recent count is live although its message is not shown yet", () => {
  const tally = { negative: 1, neutral: 0, positive: 0, messages: 1, score: -1 };
  const cells = new Map([["shop", new Map([[NOW - 3, tally]])]]);
  assert.equal(freshnessOf({ ...live, cells, messages: [at(NOW - 300)] }, null, NOW).state, "live");
});

test("a warehouse without messages is empty and not stale", () => {
  assert.deepEqual(freshnessOf({ ...live, messages: [] }, null, NOW), { state: "empty" });
});

test("a page without its first data is not stale", () => {
  assert.equal(
    freshnessOf({ ...live, begunAt: null, connection: "connecting" }, null, NOW).state,
    "connecting",
  );
  assert.equal(freshnessOf({ ...live, begunAt: NOW - 1, messages: [] }, null, NOW).state, "connecting");
  assert.equal(freshnessOf({ ...live, connection: "stopped" }, null, NOW).state, "locked");
});

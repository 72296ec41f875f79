import assert from "node:assert/strict";
import { test } from "node:test";
import { filterProblems } from "@/lib/filterProblems";
import { bucketsOf, periodName, periodOf, periodWords, rangeProblem, SPANS, secondsOf } from "@/lib/spans";

const NOW = 1_795_850_000;
const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
const problems = (query: string) => filterProblems(new URLSearchParams(query), NOW);

test("a valid address has no problem", () => {
  for (const span of SPANS)
    assert.deepEqual(problems(`?span=${span}&source=anything&by=label&label=neutral`), []);
  assert.deepEqual(problems(`?from=${iso(NOW - 900)}&to=${iso(NOW - 300)}&axis=fit`), []);
  assert.deepEqual(problems("?source=shop&span=1h&alert=0123456789abcdef"), []);
  assert.deepEqual(problems("?domain=finance&sarcasm=sarcastic"), []);
  assert.deepEqual(problems(""), []);
});

test("an invalid filter is named, with the valid values", () => {
  assert.match(problems("?span=7x").join(), /Time "7x" is not one of 1m, .*30d; showing the last 10 minutes/);
  assert.match(problems("?by=moon").join(), /Chart "moon"/);
  assert.match(problems("?label=angry").join(), /negative, neutral, positive/);
  assert.match(problems("?domain=sport").join(), /Domain "sport" is not one of general, tweets, .*news/);
  assert.match(
    problems("?sarcasm=yes").join(),
    /Sarcasm "yes" is not one of sarcastic; showing all messages/,
  );
  assert.match(problems("?sorce=shop").join(), /"sorce" is not a filter; known are .*source/);
  assert.equal(problems("?span=x&by=y&color=red").length, 3);
});

test("an invalid range is named", () => {
  assert.match(problems(`?from=yesterday&to=${iso(NOW)}`).join(), /"from=yesterday" is not a time/);
  assert.match(problems(`?from=${iso(NOW - 60)}`).join(), /both a start and an end/);
  assert.match(problems(`?from=${iso(NOW)}&to=${iso(NOW - 60)}`).join(), /not before its end/);
  assert.match(problems(`?from=${iso(NOW + 60)}&to=${iso(NOW + 90)}`).join(), /future/);
  assert.match(problems(`?from=${iso(NOW - 800 * 86_400)}&to=${iso(NOW)}`).join(), /730 days/);
});

test("a short period is counted by the second while seconds are kept", () => {
  assert.equal(bucketsOf({ span: "10m" }, NOW), "second");
  assert.equal(bucketsOf({ span: "1h" }, NOW), undefined);
  assert.equal(bucketsOf({ from: NOW - 86_400, to: NOW - 86_000 }, NOW), "second");
  assert.equal(bucketsOf({ from: NOW - 8 * 86_400, to: NOW - 8 * 86_400 + 60 }, NOW), undefined);
});

test("the period is the range if there is one, otherwise the span", () => {
  const range = { from: NOW - 900, to: NOW - 300 };
  assert.deepEqual(periodOf({ span: "1h", ...range }, NOW), range);
  assert.deepEqual(periodOf({ span: "1h", from: NOW, to: NOW - 1 }, NOW), { span: "1h" });
  assert.equal(rangeProblem(range.from, range.to, NOW), null);
  assert.equal(secondsOf(range), 600);
  assert.equal(secondsOf({ span: "30d" }), 30 * 86_400);
  assert.equal(periodWords({ span: "7d" }), "last 7 days");
  assert.match(periodName(range), /^\d{4}-\d\d-\d\dT\d{6}-\d{4}-\d\d-\d\dT\d{6}$/);
});

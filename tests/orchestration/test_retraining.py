"""No retraining is repeated or lost, whatever the order of ticks, crashes, failures and new rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.retraining import (
    LONGEST_RUN,
    LONGEST_WAIT,
    Attempt,
    Cause,
    Quality,
    RetrainingSettings,
    RetrainingState,
    config_digest,
    due_attempt,
    new_rows_cause,
    quality_cause,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = RetrainingSettings(min_new_rows=100, retry_after_minutes=10, max_attempts=3)
STATE = RetrainingState("d1", "c1", 100, production_version="m-1", production_since=NOW - timedelta(days=1))
CAUSE = Cause("new_labels", "k", "many rows")


def minutes(number):
    return NOW + timedelta(minutes=number)


class Dagster:
    """Dagster's guarantee: a sensor's run key is launched once, whatever happens to the cursor."""

    def __init__(self):
        self.state = replace(STATE, new_rows=0)
        self.runs: dict[str, Attempt] = {}
        self.now = NOW
        self.rows = 0

    def tick(self):
        cause = new_rows_cause(self.state, SETTINGS)
        if isinstance(cause, str):
            return None
        attempt = due_attempt(cause, list(self.runs.values()), SETTINGS, self.now)
        if isinstance(attempt, str):
            return None
        run_key = f"{cause.key}-{attempt}"
        launched = run_key not in self.runs
        self.runs.setdefault(run_key, Attempt(cause.key, "running", self.now))
        return run_key if launched else None

    def running(self):
        return next((key for key, run in self.runs.items() if run.outcome == "running"), None)

    def end(self, outcome):
        if key := self.running():
            self.runs[key] = replace(self.runs[key], outcome=outcome, at=self.now)
            if outcome == "succeeded":  # the rows there were when it read them; those that came since are new
                self.state = replace(self.state, new_rows=0)

    def add(self, rows):
        self.rows += rows
        self.state = replace(self.state, new_rows=self.state.new_rows + rows, data_digest=f"d{self.rows}")


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.integers(1, 300)),
        st.tuples(st.just("tick"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1, 5, 30, 600])),
        st.tuples(st.just("end"), st.sampled_from(["succeeded", "failed", "canceled"])),
    ),
    max_size=60,
)


@given(EVENTS)
@settings(max_examples=400, deadline=None)
def test_one_run_at_a_time_failures_wait_and_no_cause_is_tried_too_often(events):
    dagster, failed_in_a_row, last_failure = Dagster(), 0, None
    for event, value in events:
        if event == "rows":
            dagster.add(value)
        elif event == "wait":
            dagster.now += timedelta(minutes=value)
        elif event == "end" and dagster.running():
            dagster.end(value)
            if value == "succeeded":
                failed_in_a_row, last_failure = 0, None
            elif value == "failed":
                failed_in_a_row, last_failure = failed_in_a_row + 1, dagster.now
        elif event == "tick":
            busy = dagster.running() and dagster.now - dagster.runs[dagster.running()].at <= LONGEST_RUN
            launched = dagster.tick()
            if launched is None:
                continue
            cause = dagster.runs[launched].cause
            ended = {run.outcome for key, run in dagster.runs.items() if run.cause == cause and key != launched}
            assert not ended & {"succeeded", "canceled"}, "nothing more is tried for this cause"
            assert not busy and dagster.state.new_rows >= SETTINGS.min_new_rows
            if last_failure is not None:
                pause = min(timedelta(minutes=10) * 2 ** (failed_in_a_row - 1), LONGEST_WAIT)
                assert dagster.now - last_failure >= pause
    causes = [run.cause for run in dagster.runs.values()]
    assert all(causes.count(cause) <= SETTINGS.max_attempts for cause in causes)


@given(EVENTS)
@settings(max_examples=200, deadline=None)
def test_lasting_cause_is_tried_in_the_end(events):
    dagster = Dagster()
    for event, value in events:
        {"rows": dagster.add, "end": dagster.end, "tick": lambda _: dagster.tick()}.get(event, lambda _: None)(value)
    dagster.end("failed")
    dagster.add(SETTINGS.min_new_rows)  # a cause that has never been tried
    before = len(dagster.runs)
    dagster.now += LONGEST_RUN + LONGEST_WAIT
    assert dagster.tick() and len(dagster.runs) == before + 1
    assert dagster.tick() is None, "the same tick again asks for nothing"


@pytest.mark.parametrize(
    ("attempts", "now", "due"),
    [
        ([], 0, 1),
        ([Attempt("k", "running", minutes(-5))], 0, "A retraining is running."),
        ([Attempt(None, "running", minutes(-5))], 0, "A retraining is running."),  # a person's own
        ([Attempt("other", "running", NOW - LONGEST_RUN - timedelta(minutes=1))], 0, 1),  # it died long ago
        ([Attempt("k", "running", NOW - 2 * LONGEST_RUN)], 0, 2),  # it died without a report
        ([Attempt("k", "succeeded", minutes(-600))], 0, "retrained for this cause already"),
        ([Attempt("other", "succeeded", minutes(-1))], 0, 1),
        ([Attempt("k", "canceled", minutes(-600))], 0, "was canceled"),
        ([Attempt("k", "failed", minutes(-9))], 0, "1 failed in a row; the next attempt is due at 2026-03-01 00:01 UTC"),
        ([Attempt("k", "failed", minutes(-10))], 0, 2),
        ([Attempt("k", "failed", minutes(-40)), Attempt("k", "failed", minutes(-19))], 0, "2 failed in a row"),
        ([Attempt("k", "failed", minutes(-40)), Attempt("k", "failed", minutes(-20))], 0, 3),
        ([Attempt("k", "failed", minutes(-9000 + n)) for n in range(3)], 0, "has failed 3 times"),
        # Data that change all the time make each failure another cause; the pause stays, and grows.
        ([Attempt(f"d{n}", "failed", minutes(-60 + n)) for n in range(20)], 0, "20 failed in a row"),
        ([Attempt(f"d{n}", "failed", minutes(-60 + n)) for n in range(20)], 24 * 60, 1),
        ([Attempt("a", "failed", minutes(-9)), Attempt(None, "succeeded", minutes(-2))], 0, 1),
    ],
)
def test_when_an_attempt_is_due(attempts, now, due):
    found = due_attempt(CAUSE, attempts, SETTINGS, minutes(now))
    assert found == due or (isinstance(found, str) and isinstance(due, str) and due in found)
    assert due_attempt(CAUSE, attempts[::-1], SETTINGS, minutes(now)) == found


@pytest.mark.parametrize("rows", [None, 0, 99])
def test_too_few_rows_and_a_first_training_are_no_cause(rows):
    why = new_rows_cause(replace(STATE, new_rows=rows), SETTINGS)
    assert isinstance(why, str) and ("start the first training" in why if rows is None else f"{rows} new labeled rows" in why)
    assert isinstance(new_rows_cause(STATE, SETTINGS), Cause)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quality": Quality(0.41, 0.35, 0.47, 300)}, "quality"),
        ({"quality": Quality(0.55, 0.49, 0.61, 300)}, None),  # the interval reaches the floor
        ({"quality": Quality(0.70, 0.66, 0.74, 300)}, None),
        ({"quality": "12 rows have been labeled, at least 200 are needed"}, None),
        ({"production_since": NOW - timedelta(days=60)}, "freshness"),
        ({"production_since": None}, None),
    ],
)
def test_quality_and_freshness(change, reason):
    found = quality_cause(replace(STATE, **change), SETTINGS, NOW)
    assert (found.reason if isinstance(found, Cause) else None) == reason
    if isinstance(change.get("quality"), str):
        assert change["quality"] in found


def test_key_changes_only_with_inputs_that_justify_another_attempt():
    def key(cause):
        assert isinstance(cause, Cause)
        return cause.key

    rows = key(new_rows_cause(STATE, SETTINGS))
    assert key(new_rows_cause(replace(STATE, new_rows=900, production_version="m-2"), SETTINGS)) == rows
    assert key(new_rows_cause(replace(STATE, data_digest="d2"), SETTINGS)) != rows
    assert key(new_rows_cause(replace(STATE, config_digest="c2"), SETTINGS)) != rows

    bad = replace(STATE, quality=Quality(0.1, 0.05, 0.2, 300))
    quality = key(quality_cause(bad, SETTINGS, NOW))
    # New rows are the other sensor's business: each correction would otherwise ask for another run.
    assert key(quality_cause(replace(bad, data_digest="d2", quality=Quality(0.2, 0.1, 0.3, 301)), SETTINGS, NOW)) == quality
    assert key(quality_cause(replace(bad, production_version="m-2"), SETTINGS, NOW)) != quality

    old = replace(STATE, production_since=NOW - timedelta(days=50))
    stale = key(quality_cause(old, SETTINGS, NOW))
    assert key(quality_cause(old, SETTINGS, NOW + timedelta(days=39))) == stale
    assert key(quality_cause(old, SETTINGS, NOW + timedelta(days=41))) != stale
    assert len({rows, quality, stale}) == 3


def test_the_configuration_digest_is_stable():
    assert config_digest() == config_digest()

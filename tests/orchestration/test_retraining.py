"""Retraining is neither repeated nor swallowed, whatever the order of ticks, crashes and cursors set back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.retraining import RetrainingSettings, World, config_digest, new_rows_request, quality_request

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = RetrainingSettings(min_new_rows=100)
WORLD = World("d1", 1100, "c1", trained_fingerprint="d0", trained_rows=1000, production_since=NOW - timedelta(days=1))


class Dagster:
    """What Dagster promises: a run key of a sensor is launched once; the cursor is saved after the launch, or lost."""

    def __init__(self):
        self.launched: list[str] = []
        self.cursor: str | None = None

    def tick(self, world: World, *, crash: str | None = None) -> None:
        if crash == "before":
            return
        request = new_rows_request(world, SETTINGS)
        if request is None:
            return
        if request.run_key not in self.launched:
            self.launched.append(request.run_key)
        if crash != "between":
            self.cursor = world.data_fingerprint


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.integers(1, 300)),
        st.tuples(st.just("tick"), st.sampled_from([None, "before", "between"])),
        st.tuples(st.just("cursor back"), st.none()),
        st.tuples(st.just("trained"), st.none()),
    ),
    max_size=40,
)


@given(EVENTS)
@settings(max_examples=300, deadline=None)
def test_one_retraining_for_each_state_of_the_data_that_asks_for_one(events):
    dagster, world, asked, clean_ticks = (
        Dagster(),
        replace(WORLD, data_fingerprint="d0", labelled_rows=1000),
        set(),
        set(),
    )
    for event, value in events:
        if event == "rows":
            rows = world.labelled_rows + value
            world = replace(world, labelled_rows=rows, data_fingerprint=f"d{rows}")
        elif event == "tick":
            due = world.labelled_rows - world.trained_rows >= SETTINGS.min_new_rows
            if due and value != "before":
                asked.add(world.data_fingerprint)
            clean_ticks |= {world.data_fingerprint} if due and value is None else set()
            dagster.tick(world, crash=value)
        elif event == "cursor back":
            dagster.cursor = None
        else:
            world = replace(world, trained_fingerprint=world.data_fingerprint, trained_rows=world.labelled_rows)
    assert len(dagster.launched) == len(set(dagster.launched)) == len(asked)  # never repeated, never made up
    assert clean_ticks <= asked  # never swallowed: a state that was due when a tick got through was asked for


def test_the_first_training_is_not_the_sensors_business():
    assert new_rows_request(replace(WORLD, trained_fingerprint=None, trained_rows=0), SETTINGS) is None


def test_too_few_rows_wait():
    assert new_rows_request(replace(WORLD, labelled_rows=1099), SETTINGS) is None
    assert new_rows_request(WORLD, SETTINGS) is not None


def test_removed_rows_do_not_ask():
    assert new_rows_request(replace(WORLD, labelled_rows=900), SETTINGS) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"production_quality": 0.41}, "quality"),
        ({"production_quality": 0.70}, None),
        ({"production_quality": None}, None),
        ({"production_since": NOW - timedelta(days=60)}, "freshness"),
        ({"production_since": None}, None),
    ],
)
def test_quality_and_freshness(change, reason):
    request = quality_request(replace(WORLD, **change), SETTINGS, NOW)
    assert (request.reason if request else None) == reason


def test_the_key_changes_with_data_configuration_and_reason_and_with_nothing_else():
    key = new_rows_request(WORLD, SETTINGS).run_key
    assert new_rows_request(replace(WORLD, production_quality=0.1, trained_rows=900), SETTINGS).run_key == key
    assert new_rows_request(replace(WORLD, data_fingerprint="d2"), SETTINGS).run_key != key
    assert new_rows_request(replace(WORLD, config_digest="c2"), SETTINGS).run_key != key
    assert quality_request(replace(WORLD, production_quality=0.1), SETTINGS, NOW).run_key != key


def test_the_configuration_digest_is_stable():
    assert config_digest() == config_digest()

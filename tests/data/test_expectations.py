import pandas as pd
import pytest

from data.catalog import load_catalog
from data.expectations import BALANCE_MIN_ROWS, validate_raw, validate_splits
from tests.make import labeled, spec


def test_good_rows_pass_both_suites():
    assert validate_raw(labeled(), spec(rows={"train": 63, "val": 9, "test": 18})).success
    assert validate_splits(labeled()).success


def duplicate(frame):
    return pd.concat([frame, frame.iloc[[0]]])


def one_class(frame):
    return frame.assign(label="neutral")


def no_test(frame):
    return frame[frame["split"] != "test"]


def leak(frame):
    return pd.concat([frame, frame[frame["split"] == "test"].head(2).assign(split="train", id=["x1", "x2"])])


def long_text(frame):
    return frame.assign(text=["word " * 1_000_000, *frame["text"].iloc[1:]])


def null_text(frame):
    return frame.assign(text=[None, *frame["text"].iloc[1:]])


@pytest.mark.parametrize(
    ("corrupt", "expectation", "column"),
    [
        (duplicate, "unique", "id"),
        (one_class, "mean", "is_"),
        (long_text, "length", "text"),
        (null_text, "null", "text"),
        (lambda frame: frame.drop(columns=["domain"]), "columns", None),
        (lambda frame: frame.assign(split="holdout"), "set", "split"),
        (lambda frame: frame.assign(label_confidence=7.0), "between", "label_confidence"),
        (lambda frame: frame.iloc[:0], "row_count", None),
    ],
)
def test_the_raw_suite_reports_the_failed_column(corrupt, expectation, column):
    report = validate_raw(corrupt(labeled(40)), spec())
    assert not report.success
    assert any(
        expectation in outcome.expectation and (column is None or column in str(outcome.column)) for outcome in report.failures
    ), [(o.expectation, o.column) for o in report.failures]


@pytest.mark.parametrize(
    ("sarcasm_mapping", "label", "sarcasm", "failed"),
    [
        ({}, None, None, set()),  # emotions: the texts are for students
        ({}, "joy", None, {"label"}),
        ({"irony": True}, None, True, set()),
        ({"irony": True}, None, None, {"sarcasm"}),
    ],
)
def test_labels_of_another_kind_are_all_mapped(sarcasm_mapping, label, sarcasm, failed):
    frame = labeled().assign(label=label, sarcasm=pd.array([sarcasm] * len(labeled()), dtype="boolean"))
    report = validate_raw(frame, spec(label_mapping={"anger": None}, sarcasm_mapping=sarcasm_mapping))
    assert {outcome.column for outcome in report.failures} == failed


def test_row_counts_differing_from_the_catalog_fail():
    report = validate_raw(labeled(), spec(rows={"train": 700}))
    assert [outcome.column for outcome in report.failures] == ["in_train"]
    assert validate_raw(labeled(), spec(rows={"train": 700}), origin="hub").success, "row counts apply to the local layout only"


@pytest.mark.parametrize(("corrupt", "column"), [(no_test, "split"), (leak, "leaks"), (one_class, "is_"), (duplicate, "id")])
def test_the_split_suite_reports_the_failed_column(corrupt, column):
    report = validate_splits(corrupt(labeled(40)))
    assert any(column in str(outcome.column) for outcome in report.failures), report.failures


def test_a_failure_counts_rows_and_shows_some():
    frame = labeled()
    frame.loc[frame.index[:7], "split"] = "holdout"
    failure = next(o for o in validate_raw(frame, spec()).failures if o.column == "split")
    assert failure.unexpected_count == 7
    assert failure.sample == [f"{id}: holdout" for id in frame["id"].iloc[:5]]


@pytest.mark.parametrize("rows", [1, 2, BALANCE_MIN_ROWS - 1, BALANCE_MIN_ROWS])
def test_class_balance_fails_with_enough_rows_and_warns_with_fewer(rows):
    report = validate_raw(labeled(200).iloc[:rows].assign(label="neutral"), spec())
    small = rows < BALANCE_MIN_ROWS
    assert report.success is small and bool(report.warnings) is small
    assert all("mean" in outcome.expectation for outcome in [*report.warnings, *report.failures])


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_feedback_of_one_class_only_warns(rows):
    frame = labeled(1000, name="feedback").iloc[:rows].assign(label="negative", split="")
    report = validate_raw(frame, load_catalog()["feedback"])
    assert report.success and report.warnings


@pytest.mark.parametrize(
    "corrupt", [duplicate, null_text, lambda frame: frame.assign(label="grumpy"), lambda frame: frame.iloc[:0]]
)
def test_one_invalid_row_fails_a_small_dataset_too(corrupt):
    assert not validate_raw(corrupt(labeled(1)), spec()).success

"""Great Expectations suites for raw texts, splits and rows of the lakehouse; they return plain results.

Importing this module is cheap; the first validation imports Great Expectations (about ten seconds).
"""

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from data.catalog import DatasetSpec
from data.cleaning import normalize
from data.contracts import SPLITS
from data.domains import DOMAINS
from data.labeled_text import LABELED_TEXT, objects
from data.labels import LABELS
from data.library_settings import quiet_great_expectations
from data.readable import MAX_DOCUMENT_CHARS, MAX_TEXT_CHARS

if TYPE_CHECKING:
    import pandas as pd

RARE_CLASS_SHARE = 0.01
"""A class rarer than this, or one above `COMMON_CLASS_SHARE`, indicates a wrong label mapping."""
COMMON_CLASS_SHARE = 0.95
BALANCE_MIN_ROWS = 100
"""With at least this many rows, a class outside those shares fails the suite; with fewer, chance can explain it: a warning."""
ROWS_TOLERANCE = 0.01
MAX_NULL_LABELS = 0.001
SUM_TOLERANCE = 0.001
"""Allowed distance from 1 of the sum of three probabilities, each rounded to 4 decimals."""
_SAMPLE = 5
_BOUNDS = ("min_value", "max_value", "value_set", "column_set", "mostly")


@dataclass(frozen=True)
class Outcome:
    """The result of one expectation."""

    expectation: str
    column: str | None
    success: bool
    severity: Literal["critical", "warning"]
    """A failed expectation of severity `warning` does not fail its suite."""
    unexpected_count: int
    observed: Any
    expected: str
    """The required bounds or values; empty where the name of the expectation is enough."""
    sample: list[Any] = field(default_factory=list[Any])
    """At most five of the unexpected values, `id: value` where rows have an id."""


@dataclass(frozen=True)
class ValidationReport:
    """The result of a suite."""

    success: bool
    suite: str
    outcomes: list[Outcome]

    @property
    def failures(self) -> list[Outcome]:
        """The failed expectations of severity `critical`."""
        return [one for one in self.outcomes if not one.success and one.severity == "critical"]

    @property
    def warnings(self) -> list[Outcome]:
        """The failed expectations of severity `warning`, which do not fail the suite."""
        return [one for one in self.outcomes if not one.success and one.severity == "warning"]

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "ValidationReport":
        """Return the report from its `dataclasses.asdict` form."""
        return cls(raw["success"], raw["suite"], [Outcome(**outcome) for outcome in raw["outcomes"]])


def validate_raw(frame: "pd.DataFrame", spec: DatasetSpec, *, origin: str = "local") -> ValidationReport:
    """Check one fetched dataset: columns, types, labels, nulls, lengths, balance, ids, and the row counts of the local layout.

    Feedback has no label mapping that could be wrong, and callers mostly correct the errors of one class: its balance gives
    only a warning. Its texts may have the maximum length of the API; the splits remove those too long for training.
    """
    gx = _great_expectations()
    x = gx.expectations
    mapped = [label for label in LABELS if label in spec.label_mapping.values()]
    expectations = [
        x.ExpectTableColumnsToMatchSet(column_set=LABELED_TEXT.names, exact_match=False),
        x.ExpectTableRowCountToBeBetween(min_value=1),
        *(x.ExpectColumnValuesToNotBeNull(column=name) for name in ("id", "text", "domain", "source", "split")),
        x.ExpectColumnValuesToBeUnique(column="id"),
        *(x.ExpectColumnValuesToBeInTypeList(column=name, type_list=["str"]) for name in ("id", "text")),
        x.ExpectColumnValueLengthsToBeBetween(
            column="text", min_value=1, max_value=MAX_DOCUMENT_CHARS if spec.feedback else MAX_TEXT_CHARS
        ),
        x.ExpectColumnValuesToNotMatchRegex(column="text", regex=r"\x00"),
        x.ExpectColumnValuesToBeInSet(column="domain", value_set=list(DOMAINS)),
        x.ExpectColumnValuesToBeInSet(column="split", value_set=[*SPLITS, ""]),
        x.ExpectColumnValuesToBeBetween(column="label_confidence", min_value=0, max_value=1),
    ]
    if mapped:
        expectations += [
            x.ExpectColumnValuesToNotBeNull(column="label", mostly=1 - MAX_NULL_LABELS),
            x.ExpectColumnValuesToBeInSet(column="label", value_set=mapped),
            *_balance(x, mapped, warn=spec.feedback or len(frame) < BALANCE_MIN_ROWS),
        ]
    else:  # a label that is not in the mapping is kept as it is
        expectations.append(x.ExpectColumnValuesToBeNull(column="label"))
    if spec.sarcasm_mapping and not mapped:
        expectations.append(x.ExpectColumnValuesToNotBeNull(column="sarcasm"))
    if origin == "local" and spec.rows and "split" in frame:
        for split, rows in spec.rows.items():
            expectations.append(
                x.ExpectColumnSumToBeBetween(
                    column=f"in_{split}",
                    min_value=int(rows * (1 - ROWS_TOLERANCE)),
                    max_value=int(rows * (1 + ROWS_TOLERANCE)) + 1,
                )
            )
    return _run(frame, f"raw_{spec.name}", expectations)


def validate_splits(frame: "pd.DataFrame") -> ValidationReport:
    """Check the split rows: every split has every class, ids are unique, no text is in two splits."""
    gx = _great_expectations()
    x = gx.expectations
    expectations = [
        x.ExpectTableColumnsToMatchSet(column_set=LABELED_TEXT.names, exact_match=False),
        *(x.ExpectColumnValuesToNotBeNull(column=name) for name in ("id", "text", "label", "split")),
        x.ExpectCompoundColumnsToBeUnique(column_list=["source", "id"]),
        x.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
        x.ExpectColumnDistinctValuesToContainSet(column="split", value_set=list(SPLITS)),
        x.ExpectColumnValuesToBeInSet(column="label", value_set=list(LABELS)),
        x.ExpectColumnDistinctValuesToContainSet(
            column="split_and_label", value_set=[f"{split}/{label}" for split in SPLITS for label in LABELS]
        ),
        *_balance(x, LABELS, warn=len(frame) < BALANCE_MIN_ROWS),
        x.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1, max_value=MAX_TEXT_CHARS),
        x.ExpectColumnValuesToBeInSet(column="leaks", value_set=[False]),
    ]
    return _run(frame, "splits", expectations)


def validate_messages(frame: "pd.DataFrame", *, classified: bool) -> ValidationReport:
    """Check one or more rows of the lakehouse.

    Args:
        frame: Rows of Silver or Gold, with the columns of that table.
        classified: Whether the rows are from Gold, which has predictions.
    """
    gx = _great_expectations()
    x = gx.expectations
    expectations = [
        x.ExpectTableRowCountToBeBetween(min_value=1),
        *(x.ExpectColumnValuesToNotBeNull(column=name) for name in ("id", "text", "event_at", "event_date", "source")),
        x.ExpectColumnValuesToBeUnique(column="id"),
        x.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1, max_value=MAX_TEXT_CHARS),
        x.ExpectColumnValuesToNotMatchRegex(column="text", regex=r"\x00"),
        x.ExpectColumnValuesToBeInSet(column="true_label", value_set=list(LABELS)),
        x.ExpectColumnValuesToNotMatchRegex(column="hashtags_joined", regex="#"),
        x.ExpectColumnValuesToNotMatchRegex(column="mentions_joined", regex="@"),
    ]
    if not classified:
        expectations += [
            x.ExpectColumnValuesToNotBeNull(column="cleaned"),
            x.ExpectColumnValueLengthsToBeBetween(column="cleaned", min_value=1),
        ]
        return _run(frame, "silver", expectations)
    expectations += [
        # A row has no prediction where the model failed on it. More than a few of them point to the model, not to the texts.
        *(x.ExpectColumnValuesToNotBeNull(column=name, mostly=1 - MAX_NULL_LABELS) for name in ("label", "model_version")),
        x.ExpectColumnValuesToNotBeNull(column="predicted_at"),
        x.ExpectColumnValuesToBeInSet(column="label", value_set=list(LABELS)),
        *(x.ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=1) for name in ("confidence", *LABELS)),
        x.ExpectColumnValuesToBeBetween(column="probabilities_sum", min_value=1 - SUM_TOLERANCE, max_value=1 + SUM_TOLERANCE),
    ]
    return _run(frame, "gold", expectations)


def _balance(x: Any, labels: Iterable[str], *, warn: bool) -> list[Any]:
    """Require that no class of `labels` is nearly absent and that none has nearly all rows."""
    return [
        x.ExpectColumnMeanToBeBetween(
            column=f"is_{label}",
            min_value=RARE_CLASS_SHARE,
            max_value=COMMON_CLASS_SHARE,
            severity="warning" if warn else "critical",
        )
        for label in labels
    ]


def _with_derived_columns(frame: "pd.DataFrame", columns: set[str]) -> "pd.DataFrame":
    """Add the derived columns that expectations refer to: class and split indicators, leaks, sums."""
    frame = frame.copy()
    for name in ("id", "text", "label", "split", "domain", "source"):
        if name in frame:
            frame[name] = objects(frame[name])
    for column in columns - set(frame.columns):
        kind, _, value = column.partition("_")
        if kind == "is" and "label" in frame:
            frame[column] = (frame["label"] == value).astype(float)
        elif kind == "in" and "split" in frame:
            frame[column] = (frame["split"] == value).astype(int)
        elif column == "split_and_label" and {"split", "label"} <= set(frame.columns):
            frame[column] = frame["split"].astype(str) + "/" + frame["label"].astype(str)
        elif column == "leaks" and {"split", "text"} <= set(frame.columns):
            keys = frame["text"].fillna("").map(normalize)
            frame[column] = frame["split"].groupby(keys).transform("nunique") > 1
        elif value == "joined" and kind in frame:
            frame[column] = [" ".join(names) or None if names is not None else None for names in frame[kind]]
        elif column == "probabilities_sum" and set(LABELS) <= set(frame.columns):
            frame[column] = frame[list(LABELS)].sum(axis=1, skipna=False)
    return frame


def _run(frame: "pd.DataFrame", suite: str, expectations: list[Any]) -> ValidationReport:
    gx = _great_expectations()
    wanted = {name for one in expectations for name in _columns(one)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        batch = (
            context.data_sources.add_pandas("frames")
            .add_dataframe_asset("texts")
            .add_batch_definition_whole_dataframe("whole")
            .get_batch({"dataframe": _with_derived_columns(frame, wanted)})
        )
        # The id next to each unexpected value identifies the row.
        by_id = {"result_format": "SUMMARY", "unexpected_index_column_names": ["id"]} if "id" in frame else "SUMMARY"
        result = batch.validate(gx.ExpectationSuite(name=suite, expectations=expectations), result_format=by_id)
    outcomes = [_outcome(one) for one in result.results]
    passed = all(outcome.success or outcome.severity == "warning" for outcome in outcomes)
    return ValidationReport(passed, suite, outcomes)


def _columns(expectation: Any) -> list[str]:
    column: str | None = getattr(expectation, "column", None)
    columns: list[str] | None = getattr(expectation, "column_list", None)
    return [column] if column else columns or []


def _outcome(one: Any) -> Outcome:
    details: dict[str, Any] = one.result or {}
    config = one.expectation_config
    error = next((e["exception_message"] for e in _exceptions(one.exception_info)), None)
    observed: Any = details.get("observed_value", error)
    if observed is None and "unexpected_percent" in details:
        observed = f"{details['unexpected_percent'] or 0:.3g} % of rows"
    if isinstance(observed, float):
        observed = round(observed, 4)
    return Outcome(
        expectation=config.type,
        column=config.kwargs.get("column") or ", ".join(config.kwargs.get("column_list", [])) or None,
        success=bool(one.success),
        severity="warning" if config.severity.value == "warning" else "critical",
        unexpected_count=int(details.get("unexpected_count") or 0),
        observed=observed,
        expected=", ".join(f"{key} {value}" for key, value in config.kwargs.items() if key in _BOUNDS and value is not None),
        sample=_sample_of(details, config.kwargs.get("column")),
    )


def _sample_of(details: dict[str, Any], column: str | None) -> list[Any]:
    rows: list[dict[str, Any] | int] = details.get("partial_unexpected_index_list") or []
    values: list[Any] = details.get("partial_unexpected_list") or []
    by_id = [f"{row['id']}: {_short(row[column])}" for row in rows if isinstance(row, dict) and column and column in row]
    if by_id and column != "id" and len(by_id) == len(rows):
        return by_id[:_SAMPLE]
    return [_short(value) for value in values[:_SAMPLE]]


def _exceptions(info: Any) -> list[dict[str, Any]]:
    """Return the raised exceptions; Great Expectations gives one, or one per metric."""
    if not info:
        return []
    single: list[dict[str, Any] | bool] = [info] if "raised_exception" in info else list(info.values())
    return [e for e in single if isinstance(e, dict) and e.get("raised_exception")]


def _short(value: Any) -> Any:
    return f"{value[:80]}… ({len(value):,} characters)" if isinstance(value, str) and len(value) > 80 else value


def _great_expectations() -> Any:
    quiet_great_expectations()
    for name in ("great_expectations", "great_expectations.expectations.expectation"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
    return gx

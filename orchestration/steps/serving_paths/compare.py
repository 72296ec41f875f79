"""Compare the outcomes of a path with those of the reference, and the report of all paths."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from orchestration.steps.serving_paths.outcomes import Numbered, Outcome
from orchestration.steps.serving_paths.rows import Row

Kind = Literal["label", "score", "sarcasm", "refusal", "head", "tier", "missing", "additional"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of a difference. A row has at most one of the first six:

- label: another label;
- score: the same label, and a probability that differs by more than the tolerance;
- sarcasm: only one of both has a probability of sarcasm, or they differ by more than the tolerance;
- refusal: only one of both refuses the text, or both do for different reasons;
- head, tier: the same prediction, reported to be of another head or tier;
- missing: the path has no outcome for the row;
- additional: an outcome for a row that was not sent, or a second one for a row that was.
"""
TOLERANCE = 1e-4
"""Of a probability, 0 to 1: probabilities have 4 decimals, and batches of other texts can change the last one."""
LISTED = 50
"""Most differences of one path that the report lists."""
TEXT_CHARS = 120
"""A listed text is cut to this many characters."""


@dataclass(frozen=True)
class Difference:
    """One row on which a path and the reference differ."""

    kind: Kind
    row: int
    """-1: a row that was not sent."""
    text: str
    """As a JSON string, cut to `TEXT_CHARS`."""
    domain: str | None
    of_reference: str
    of_path: str


@dataclass(frozen=True)
class PathReport:
    """One path."""

    name: str
    state: Literal["reference", "equal", "different", "skipped", "failed"]
    note: str = ""
    """Why it was skipped or failed; else what was called."""
    rows: int = 0
    """Outcomes."""
    refused: int = 0
    differences: dict[str, int] = field(default_factory=dict)
    """By kind, those that occur."""
    largest_gap: float = 0.0
    """Largest difference of a probability from the reference, over the rows that both classify."""
    models: tuple[str, ...] = ()
    """Versions, with the engine if that is not the default one; empty: the path reports none."""
    tiers: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    seconds: float = 0.0
    listed: tuple[Difference, ...] = ()
    """The first `LISTED` differences, other labels first."""


@dataclass(frozen=True)
class PathReconciliation:
    """The outcomes of all paths compared with those of the first."""

    bundle: str
    made_at: str
    rows: int
    kinds: dict[str, int]
    """Rows by dataset or kind of characters."""
    domains: dict[str, int]
    tolerance: float
    paths: tuple[PathReport, ...]

    @property
    def compared(self) -> int:
        """Paths with outcomes that were compared with those of another path."""
        return sum(path.state in ("equal", "different") for path in self.paths)

    @property
    def are_equal(self) -> bool:
        """Whether at least one path was compared, none differs and none failed."""
        return self.compared > 0 and all(path.state in ("reference", "equal", "skipped") for path in self.paths)


def report_path(
    name: str,
    rows: Sequence[Row],
    reference: Iterable[Numbered],
    found: Sequence[Numbered],
    *,
    is_reference: bool = False,
    **fields: Any,
) -> PathReport:
    """Compare the outcomes of a path with those of the reference, in any order.

    Args:
        name: Of the path.
        rows: The rows that were sent.
        reference: Outcomes of the path that the others are compared with.
        found: Of the path.
        is_reference: Whether `found` is the reference.
        fields: `note` and `seconds` of the report.
    """
    expected, by_number = dict(reference), {row.number: row for row in rows}
    differences: list[Difference] = []
    gap, seen = 0.0, set[int]()
    for number, outcome in found:
        if number in seen or number not in expected:
            wanted = "one outcome" if number in seen else "no outcome"
            differences.append(_difference("additional", by_number.get(number), wanted, outcome))
            seen.add(number)
            continue
        seen.add(number)
        gap = max(gap, _gap(expected[number], outcome))
        if kind := compare(expected[number], outcome):
            differences.append(_difference(kind, by_number[number], expected[number], outcome))
    lacking = [row for row in rows if row.number not in seen]
    differences += [_difference("missing", row, expected.get(row.number, "an outcome"), "no outcome") for row in lacking]
    differences.sort(key=lambda one: KINDS.index(one.kind))
    counts = Counter[str](difference.kind for difference in differences)
    outcomes = [outcome for _, outcome in found]
    return PathReport(
        name=name,
        state="different" if differences else "reference" if is_reference else "equal",
        rows=len(outcomes),
        refused=sum(outcome.is_refused for outcome in outcomes),
        differences={kind: counts[kind] for kind in KINDS if counts[kind]},
        largest_gap=gap,
        models=_each(outcome.model for outcome in outcomes),
        tiers=_each(outcome.tier for outcome in outcomes),
        heads=_each(outcome.head for outcome in outcomes),
        listed=tuple(differences[:LISTED]),
        **fields,
    )


def compare(expected: Outcome, found: Outcome) -> Kind | None:
    """Return how two outcomes of a row differ; None: they are equal."""
    if expected.is_refused or found.is_refused:
        same = expected.is_refused == found.is_refused and _agree(expected.reason, found.reason)
        return None if same else "refusal"
    if expected.label != found.label:
        return "label"
    if _gap(expected, found) > TOLERANCE:
        return "score"
    if not _is_as_sarcastic(expected.sarcasm, found.sarcasm):
        return "sarcasm"
    if not _agree(expected.head, found.head):
        return "head"
    return None if _agree(expected.tier, found.tier) else "tier"


def _agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def _is_as_sarcastic(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return round(abs(one - other), 6) <= TOLERANCE  # false for nan


def _gap(one: Outcome, other: Outcome) -> float:
    """Return the largest difference of a probability; 0 where one is refused, 1 where they have different numbers of them."""
    if one.is_refused or other.is_refused:
        return 0.0
    if len(one.probabilities) != len(other.probabilities):
        return 1.0
    gaps = (abs(a - b) for a, b in zip(one.probabilities, other.probabilities, strict=True))
    # A probability that is not a number is no prediction; 32-bit columns are off by some 1e-8.
    return max((1.0 if math.isnan(gap) else round(gap, 6) for gap in gaps), default=0.0)


def _each(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value is not None}))


def _difference(kind: Kind, row: Row | None, of_reference: Outcome | str, of_path: Outcome | str) -> Difference:
    text = json.dumps(row.text[:TEXT_CHARS]) if row else ""
    number, domain = (row.number, row.domain) if row else (-1, None)
    return Difference(kind, number, text, domain, _shown(of_reference), _shown(of_path))


def _shown(outcome: Outcome | str) -> str:
    if isinstance(outcome, str):
        return outcome
    if outcome.is_refused:
        return f"refused: {outcome.reason or 'no reason'}"
    by = "/".join(name for name in (outcome.head, outcome.tier) if name)
    scores = " ".join(f"{probability:.4f}" for probability in outcome.probabilities)
    sarcasm = "" if outcome.sarcasm is None else f", sarcasm {outcome.sarcasm:.4f}"
    return f"{outcome.label} {scores}{sarcasm}" + (f" ({by})" if by else "")


def counted(values: Iterable[str | None]) -> dict[str, int]:
    """Count values, by name; None as `none`."""
    return dict(sorted(Counter(value or "none" for value in values).items()))

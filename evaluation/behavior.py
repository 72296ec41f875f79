"""Behavioral tests, independent of accuracy: minimum functionality, invariance and direction (MFT, INV, DIR).

A case fails if any of its variants breaks the expectation; the failure rate of a test is fails / n. Cases come from
`evaluation.suites`.

Source:
    Ribeiro et al., "Beyond Accuracy", ACL 2020 (marcotcr/checklist): the three kinds, the tolerance of 0.1, and the
    rule that confidence tests disregard an original predicted neutral.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from data.contracts import Predictor
from data.labels import LABEL_IDS
from evaluation.metrics import Estimate, apply_temperature, check_proba
from evaluation.settings import EvaluationSettings
from evaluation.suites import Case, Kind, load_checklist, load_own_suite

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BehaviorRow:
    """The failure rate of one test."""

    suite: str
    test: str
    kind: Kind
    capability: str
    n: int
    """Evaluated cases."""
    fails: int
    disregarded: int
    """Confidence cases whose original was predicted neutral: they have no result."""
    fail_rate: Estimate
    """0 to 1 with Wilson's 95 % interval; NaN if no case was evaluated."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**vars(self), "fail_rate": self.fail_rate.to_dict()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Return the row from its JSON form."""
        fields: dict[str, Any] = {**raw, "fail_rate": Estimate.from_dict(raw["fail_rate"])}
        return cls(**fields)


def load_cases(data_dir: Path | None, settings: EvaluationSettings) -> list[Case]:
    """Load our own suite, and that of CheckList if the local data folder has it (logs if not).

    Args:
        data_dir: The local data folder, or None.
        settings: Number of cases per test and of variants per case, and the seed.
    """
    checklist = (
        load_checklist(
            data_dir,
            cases_per_test=settings.behavior_cases_per_test,
            variants_per_case=settings.behavior_variants_per_case,
            seed=settings.seed,
        )
        if data_dir
        else []
    )
    if not checklist:
        _LOG.info("The CheckList suite is not in the data folder (%s); using only our own suite for behavior.", data_dir)
    return checklist + load_own_suite()


def _broken(case: Case, proba: np.ndarray) -> bool | None:
    """Return whether a case fails; None if it has no result. `proba` has shape (texts of the case, 3)."""
    first = int(proba[0].argmax())
    if case.kind == "MFT":
        return first not in case.right
    rest = proba[1:]
    if case.kind == "INV":  # another label, and a change beyond the tolerance
        moved = np.abs(rest[:, first] - proba[0, first]) > case.tolerance
        return bool(((rest.argmax(axis=1) != first) & moved).any())
    if case.rule in ("confidence_not_down", "confidence_not_up") and first == LABEL_IDS["neutral"]:
        return None
    column = LABEL_IDS["positive"] if case.rule in ("positive_not_down", "positive_not_up") else first
    change = rest[:, column] - proba[0, column]
    down = case.rule in ("positive_not_up", "confidence_not_up")
    return bool(((change if down else -change) > case.tolerance).any())


def wilson(count: int, n: int) -> Estimate:
    """Return a share with its 95 % interval (Wilson 1927); NaN of nothing."""
    from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    interval: Any = stats.binomtest(count, n).proportion_ci(method="wilson")  # pyright: ignore[reportUnknownMemberType]
    return Estimate(count / n, float(interval.low), float(interval.high))


def run_behavior(predictor: Predictor, cases: Sequence[Case], *, temperature: float = 1.0) -> list[BehaviorRow]:
    """Predict every text of every case in one call, and compute the failure rate of each test.

    Args:
        predictor: The candidate.
        cases: Of one or more suites. A text that occurs more than once is predicted once for each domain.
        temperature: Applied to the probabilities, so that tolerances are comparable between candidates; 1 for a predictor
            that applies its own.

    Returns:
        One row per test, in the order of the cases.

    Raises:
        ModelError: The predictor's probabilities cannot be used.
    """
    asked = list(dict.fromkeys((text, case.domain) for case in cases for text in case.texts))
    if not asked:
        return []
    position = {one: index for index, one in enumerate(asked)}
    found = predictor.predict_proba([text for text, _ in asked], domains=[domain for _, domain in asked])
    proba = apply_temperature(check_proba(found, len(asked)), temperature)
    broken: dict[tuple[str, str], list[bool | None]] = {}
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        key = (case.suite, case.test)
        first.setdefault(key, case)
        broken.setdefault(key, []).append(_broken(case, proba[[position[text, case.domain] for text in case.texts]]))
    rows: list[BehaviorRow] = []
    for (suite, test), results in broken.items():
        evaluated = [result for result in results if result is not None]
        case, fails = first[suite, test], sum(evaluated)
        rows.append(
            BehaviorRow(
                suite,
                test,
                case.kind,
                case.capability,
                n=len(evaluated),
                fails=fails,
                disregarded=len(results) - len(evaluated),
                fail_rate=wilson(fails, len(evaluated)),
            )
        )
    return rows


def fail_rate_by_kind(rows: Iterable[BehaviorRow]) -> dict[str, float]:
    """Return the mean failure rate over the tests of each suite and kind, such as `checklist INV`, with equal weights."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row.n:
            rates.setdefault(f"{row.suite} {row.kind}", []).append(row.fail_rate.value)
    return {key: float(np.mean(values)) for key, values in rates.items()}

"""What a model must do, whatever its accuracy: minimum functionality, invariance and direction (MFT, INV, DIR).

A case fails when any of its variants breaks the expectation; the failure rate of a test is fails / n. Cases come from
`evaluation.suites`.

Source:
    Ribeiro et al., "Beyond Accuracy", ACL 2020 (marcotcr/checklist): the three kinds, the tolerance of 0.1, and the
    rule that confidence tests disregard an original judged neutral.
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
_Z = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class BehaviorRow:
    """How often one test fails."""

    suite: str
    test: str
    kind: Kind
    capability: str
    n: int
    """Cases judged."""
    fails: int
    disregarded: int
    """Confidence cases whose original was judged neutral: they say nothing."""
    fail_rate: Estimate
    """0 to 1 with Wilson's 95 % interval; NaN when no case was judged."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**vars(self), "fail_rate": self.fail_rate.to_dict()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{**raw, "fail_rate": Estimate.from_dict(raw["fail_rate"])})


def load_cases(data_dir: Path | None, settings: EvaluationSettings) -> list[Case]:
    """Our own suite, and CheckList's when the local data folder holds it (a log line says when it does not).

    Args:
        data_dir: The local data folder, or None.
        settings: How many cases of each test.
    """
    found = (
        load_checklist(
            data_dir,
            cases_per_test=settings.behavior_cases_per_test,
            variants_per_case=settings.behavior_variants_per_case,
            seed=settings.seed,
        )
        if data_dir
        else []
    )
    if not found:
        _LOG.info("CheckList's suite is not in the data folder (%s); behavior is judged by our own suite.", data_dir)
    return found + load_own_suite()


def _broken(case: Case, proba: np.ndarray) -> bool | None:
    """Whether a case fails; None when it says nothing. `proba` has shape (texts of the case, 3)."""
    first = int(proba[0].argmax())
    if case.kind == "MFT":
        return first not in case.right
    rest = proba[1:]
    if case.kind == "INV":  # another label, and not merely a coin that fell the other way
        moved = np.abs(rest[:, first] - proba[0, first]) > case.tolerance
        return bool(((rest.argmax(axis=1) != first) & moved).any())
    if case.rule in ("confidence_not_down", "confidence_not_up") and first == LABEL_IDS["neutral"]:
        return None
    column = LABEL_IDS["positive"] if case.rule in ("positive_not_down", "positive_not_up") else first
    change = rest[:, column] - proba[0, column]
    down = case.rule in ("positive_not_up", "confidence_not_up")
    return bool(((change if down else -change) > case.tolerance).any())


def _wilson(fails: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    share, spread = fails / n, _Z * np.sqrt(fails * (n - fails) / n**3 + _Z**2 / (4 * n**2))
    middle, scale = share + _Z**2 / (2 * n), 1 + _Z**2 / n
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return Estimate(share, float(min(max(low, 0.0), share)), float(max(min(high, 1.0), share)))


def run_behavior(predictor: Predictor, cases: Sequence[Case], *, temperature: float = 1.0) -> list[BehaviorRow]:
    """Judge every text of every case in one call, and say how often each test fails.

    Args:
        predictor: The candidate.
        cases: Of one or more suites. Texts that occur more than once are judged once.
        temperature: Applied to the probabilities, so that tolerances mean the same for every candidate; 1 for a
            predictor that applies its own.

    Returns:
        One row per test, in the order of the cases.

    Raises:
        ModelError: The predictor's probabilities cannot be used.
    """
    texts = list(dict.fromkeys(text for case in cases for text in case.texts))
    if not texts:
        return []
    place = {text: index for index, text in enumerate(texts)}
    proba = apply_temperature(check_proba(predictor.predict_proba(texts), len(texts)), temperature)
    found: dict[tuple[str, str], list[bool | None]] = {}
    first: dict[tuple[str, str], Case] = {}
    for case in cases:
        key = (case.suite, case.test)
        first.setdefault(key, case)
        found.setdefault(key, []).append(_broken(case, proba[[place[text] for text in case.texts]]))
    rows = []
    for (suite, test), results in found.items():
        judged = [result for result in results if result is not None]
        case, fails = first[suite, test], sum(judged)
        rows.append(
            BehaviorRow(
                suite,
                test,
                case.kind,
                case.capability,
                n=len(judged),
                fails=fails,
                disregarded=len(results) - len(judged),
                fail_rate=_wilson(fails, len(judged)),
            )
        )
    return rows


def fail_rate_by_kind(rows: Iterable[BehaviorRow]) -> dict[str, float]:
    """Mean failure rate over the tests of each suite and kind, such as `checklist INV`; every test counts the same."""
    rates: dict[str, list[float]] = {}
    for row in rows:
        if row.n:
            rates.setdefault(f"{row.suite} {row.kind}", []).append(row.fail_rate.value)
    return {key: float(np.mean(values)) for key, values in rates.items()}

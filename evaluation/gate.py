"""The promotion gate. Rules from `configs/gates.yaml` decide whether a candidate is promoted; each rule gives a reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from data.errors import ModelError
from evaluation.gates import AbilitiesRule, BaselineRule, BehaviorRule, CostRule, Gates, ParityRule, ProductionRule, SlicesRule
from evaluation.leaderboard import LeaderboardRow
from evaluation.metrics import RESAMPLES, Estimate, paired_difference
from evaluation.multiplicity import holm, p_worse
from evaluation.parity import ParityResult
from evaluation.suites import Kind

_Z = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Reason:
    """The result of one rule."""

    rule: str
    passed: bool
    found: float | str | None
    limit: float | str | None
    text: str


@dataclass(frozen=True)
class GateDecision:
    """The decision of the promotion gate: passed if every rule passed."""

    candidate: str
    passed: bool
    reasons: tuple[Reason, ...]
    bundle: str = ""
    """Version of the bundle that the decision is about."""
    data_fingerprint: str = ""
    """Of the present splits."""
    decided_at: str = ""
    """ISO 8601, UTC."""
    unchanged: bool = False
    """The bundle is in production already; this is the decision that promoted it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return the decision from its JSON form; unknown keys, such as those of an older version, are left out."""
        known: dict[str, Any] = {each.name: raw[each.name] for each in fields(cls) if each.name in raw}
        known["reasons"] = tuple(Reason(**reason) for reason in raw["reasons"])
        return cls(**known)

    @property
    def failures(self) -> tuple[Reason, ...]:
        """The rules that failed."""
        return tuple(reason for reason in self.reasons if not reason.passed)

    def summary(self) -> str:
        """Return one line for a log or a terminal."""
        if self.passed:
            return f"{self.candidate} passed all {len(self.reasons)} rules."
        return f"{self.candidate} is refused: " + "; ".join(reason.text for reason in self.failures)

    def markdown(self) -> str:
        """Return a Markdown table of every rule, failed rules first."""
        lines = [f"**{'Passed' if self.passed else 'Refused'}**: {self.candidate}", ""]
        lines += ["| | Rule | Reason |", "|---|---|---|"]
        for reason in sorted(self.reasons, key=lambda reason: reason.passed):
            lines.append(f"| {'✓' if reason.passed else '✗'} | {reason.rule} | {reason.text} |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Evidence:
    """The labels and predictions that the rules compare, from the arguments of `decide`."""

    labels: np.ndarray
    candidate: np.ndarray
    production: np.ndarray | None
    baseline: np.ndarray | None
    primary: np.ndarray | None
    slices: Mapping[str, np.ndarray]
    resamples: int
    seed: int

    def rows(self, mask: np.ndarray | None) -> np.ndarray:
        """Return the mask of labeled rows, restricted to `mask`."""
        labeled = self.labels >= 0
        return labeled if mask is None else labeled & mask

    def minus(self, other: np.ndarray, metric: str, rows: np.ndarray) -> Estimate:
        """Return the paired difference candidate - other."""
        return paired_difference(
            self.labels[rows], self.candidate[rows], other[rows], metric, resamples=self.resamples, seed=self.seed
        )


def _span(difference: Estimate) -> str:
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.2f} points [{low:+.2f}, {high:+.2f}]"


def _bounds(row: LeaderboardRow, gates: Gates) -> list[Reason]:
    reasons: list[Reason] = []
    for metric, floor in gates.floors.items():
        value = row.metrics[metric].value
        # An undefined value (the test rows lack a class) does not pass: it was not measured.
        text = f"{metric} is {value:.4f}, at least {floor:g} is required"
        reasons.append(Reason(f"floor: {metric}", bool(value >= floor), value, floor, text))
    for metric, ceiling in gates.ceilings.items():
        value, few = row.metrics[metric].value, row.n < gates.ceilings_min_rows
        text = f"{metric} is {value:.4f}, at most {ceiling:g} is required"
        text += f"; {row.n} rows are too few to require it" if few else ""
        reasons.append(Reason(f"ceiling: {metric}", bool(few or value <= ceiling), value, ceiling, text))
    return reasons


def _domain_floors(row: LeaderboardRow, heads: Sequence[str], gates: Gates) -> list[Reason]:
    """Return a reason for each domain that has a head and a floor; one with too few rows is not decided."""
    metric, rule = gates.slices.metric, gates.slices
    measured = {part.slice: part for part in row.slices if part.n >= rule.min_rows and metric in part.metrics}
    reasons: list[Reason] = []
    for domain, floor in gates.domain_floors.items():
        if domain not in heads or (part := measured.get(f"domain={domain}")) is None:
            continue
        value = part.metrics[metric].value
        text = f"{metric} of the head {domain} is {value:.4f} on {part.n:,} rows, at least {floor:g} is required"
        reasons.append(Reason(f"floor: {domain}", bool(value >= floor), value, floor, text))
    return reasons


def _baseline(evidence: _Evidence, rule: BaselineRule) -> Reason:
    if evidence.baseline is None:
        return Reason("better than VADER", True, None, None, "VADER was not measured: nothing to compare with")
    rows = evidence.rows(evidence.primary)
    difference, count = evidence.minus(evidence.baseline, rule.metric, rows), int(rows.sum())
    if count < rule.min_rows:
        text = f"{rule.metric} against VADER {_span(difference)} on {count} rows: too few for the interval, so the value decides"
        value = difference.value
    else:
        text = f"{rule.metric} against VADER {_span(difference)}, the whole interval must be above 0"
        value = difference.low
    text += "" if rule.required else "; not required here"
    return Reason("better than VADER", value > 0 or not rule.required, value, 0.0, text)


def _production(evidence: _Evidence, rule: ProductionRule) -> Reason:
    name = "not worse than production"
    if evidence.production is None:
        return Reason(name, True, None, None, "there is no production model yet: nothing to compare with")
    difference = evidence.minus(evidence.production, rule.metric, evidence.rows(evidence.primary))
    text = f"{rule.metric} against production {_span(difference)}"
    if difference.high < 0:
        return Reason(name, False, difference.high, 0.0, f"{text}: the whole interval is below 0")
    if difference.value < -rule.margin:
        return Reason(name, False, difference.value, -rule.margin, f"{text}: worse by more than {100 * rule.margin:g} points")
    return Reason(name, True, difference.value, -rule.margin, f"{text}: not worse")


def _slices(evidence: _Evidence, rule: SlicesRule) -> list[Reason]:
    if evidence.production is None:
        return []
    large = {name: rows for name, mask in evidence.slices.items() if (rows := evidence.rows(mask)).sum() >= rule.min_rows}
    differences = {name: evidence.minus(evidence.production, rule.metric, rows) for name, rows in large.items()}
    margins = {name: rule.domain_margin if name.startswith("domain=") else rule.margin for name in large}
    worse = holm([p_worse(one, margins[name]) for name, one in differences.items()])
    compared = f"{len(large)} slices" if len(large) > 1 else "1 slice"
    reasons: list[Reason] = []
    for (name, difference), refused in zip(differences.items(), worse, strict=True):
        text = f"{rule.metric} on {name} ({int(large[name].sum()):,} rows) against production {_span(difference)}"
        if refused:
            text += f": worse by more than {100 * margins[name]:g} points, beyond chance among {compared}"
        reasons.append(Reason(f"slice: {name}", not refused, difference.high, -margins[name], text))
    return reasons


def _pooled(row: LeaderboardRow, shared: set[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    pooled: dict[str, tuple[int, int]] = {}
    for part in row.behavior:
        if (part.suite, part.test) in shared:
            fails, n = pooled.get(f"{part.suite} {part.kind}", (0, 0))
            pooled[f"{part.suite} {part.kind}"] = (fails + part.fails, n + part.n)
    return {key: counts for key, counts in pooled.items() if counts[1]}


def _behavior_floors(row: LeaderboardRow, max_fail_rate: Mapping[Kind, float], min_cases: int) -> list[Reason]:
    groups: dict[tuple[Kind, str], tuple[int, int]] = {}
    for part in row.behavior:
        if part.kind in max_fail_rate:
            fails, n = groups.get(key := (part.kind, f"{part.suite} {part.kind} {part.capability}"), (0, 0))
            groups[key] = (fails + part.fails, n + part.n)
    reasons: list[Reason] = []
    for (kind, name), (fails, n) in groups.items():
        if n < min_cases:
            continue
        share, limit = fails / n, max_fail_rate[kind]
        text = f"{name} fails in {100 * share:.1f} % of {n} cases, at most {100 * limit:g} % is allowed"
        reasons.append(Reason(f"behavior floor: {name}", share <= limit, share, limit, text))
    return reasons


def _behavior(row: LeaderboardRow, production: LeaderboardRow | None, rule: BehaviorRule) -> list[Reason]:
    if production is None:
        return []
    tests = [{(part.suite, part.test) for part in one.behavior} for one in (row, production)]
    ours, theirs = (_pooled(one, tests[0] & tests[1]) for one in (row, production))
    if not set(ours) & set(theirs):
        return [Reason("behavior", True, None, None, "no behavioral test was run on both: nothing to compare with")]
    reasons: list[Reason] = []
    for key in [key for key in ours if key in theirs]:
        (fails, n), (their_fails, their_n) = ours[key], theirs[key]
        share, their_share = fails / n, their_fails / their_n
        worse = share - their_share
        spread = _Z * math.sqrt(share * (1 - share) / n + their_share * (1 - their_share) / their_n)
        passed = not (worse > rule.margin and worse - spread > 0)
        text = f"{key} fails in {100 * share:.1f} % of {n} cases, production in {100 * their_share:.1f} %"
        text += "" if passed else f": worse by more than {100 * rule.margin:g} points and beyond chance"
        reasons.append(Reason(f"behavior: {key}", passed, worse, rule.margin, text))
    return reasons


def _abilities(row: LeaderboardRow, production: LeaderboardRow | None, rule: AbilitiesRule) -> list[Reason]:
    """Return a reason for each measure of sarcasm and companies that production has."""
    if production is None:
        return []
    ours, theirs = _measured(row), _measured(production)
    reasons: list[Reason] = []
    for name, before in theirs.items():
        least = before.value - rule.margin
        if name not in ours:
            text = f"{name} is not predicted; production has {before.value:.3f}"
            reasons.append(Reason(f"ability: {name}", False, None, least, text))
            continue
        found = ours[name]
        text = f"{name} is {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], production has {before.value:.3f}"
        passed = found.high >= least
        text += "" if passed else f": the whole interval is lower by more than {rule.margin:g}"
        reasons.append(Reason(f"ability: {name}", passed, found.high, least, text))
    return reasons


def _measured(row: LeaderboardRow) -> dict[str, Estimate]:
    found = {f"F1 of sarcasm, {part.dataset}": part.f1 for part in row.sarcasm.rows} if row.sarcasm else {}
    return found | ({"correlation with scores of companies": row.targets.correlation} if row.targets else {})


def _parity(parity: ParityResult | None, rule: ParityRule) -> Reason:
    if parity is None:
        text = "parity was not checked" + ("" if rule.required else ", and is not required")
        return Reason("parity", not rule.required, None, "passed", text)
    found = "passed" if parity.passed else "failed"
    return Reason("parity", parity.passed or not rule.required, found, "passed", parity.text)


def _cost(row: LeaderboardRow, rule: CostRule) -> Reason:
    limit = rule.cpu_us_per_text
    if row.cost is None:
        return Reason("CPU budget", False, None, limit, "the CPU time per text was not measured")
    found = row.cost.cpu_us_per_text.value
    text = f"{found:,.0f} CPU µs per text, at most {limit:,.0f} is required"
    return Reason("CPU budget", found <= limit, found, limit, text)


def decide_tier(tier: LeaderboardRow, base: LeaderboardRow, gates: Gates) -> tuple[Reason, ...]:
    """Evaluate a smaller tier by the rules `tiers` for slices and behavior.

    Args:
        tier: The leaderboard row of its student.
        base: The row of the candidate that `base` is made of.
        gates: The rules.

    Returns:
        One reason per rule, passed or not.
    """
    metric, slices = gates.slices.metric, {row.slice: row for row in tier.slices}
    reasons: list[Reason] = []
    for row in base.slices:
        if row.n < gates.slices.min_rows or metric not in row.metrics or row.slice not in slices:
            continue
        found, least = slices[row.slice].metrics[metric].value, gates.tiers.slice_share * row.metrics[metric].value
        text = f"{metric} is {100 * found:.1f} on {row.slice} ({row.n:,} rows), at least {100 * least:.1f} is required"
        reasons.append(Reason(f"slice: {row.slice}", found >= least, found, least, text))
    return (*reasons, *_behavior_floors(tier, gates.tiers.max_fail_rate, gates.behavior.min_cases))


def decide(
    candidate: LeaderboardRow,
    production: LeaderboardRow | None,
    gates: Gates,
    *,
    labels: np.ndarray,
    candidate_proba: np.ndarray,
    production_proba: np.ndarray | None = None,
    baseline_proba: np.ndarray | None = None,
    primary: np.ndarray | None = None,
    slices: Mapping[str, np.ndarray] | None = None,
    parity: ParityResult | None = None,
    heads: Sequence[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> GateDecision:
    """Evaluate a candidate by every rule.

    Args:
        candidate: Its leaderboard row, with behavior and cost.
        production: The row of the production model, or None.
        gates: The rules, from `load_gates`.
        labels: Class ids of the test rows, int, shape (N,); -1 where a row has no sentiment label.
        candidate_proba: Probabilities of the candidate for the same rows, shape (N, 3).
        production_proba: Those of the production model, or None.
        baseline_proba: Those of VADER, or None.
        primary: Which rows rank the candidates, bool, shape (N,); None: all.
        slices: Masks by name, bool, shape (N,), from `slices.slice_masks`.
        parity: The result of the parity check, or None without a check.
        heads: Of the candidate: the domains that have one.
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.

    Returns:
        The decision with one reason per rule, in the order of `configs/gates.yaml`.

    Raises:
        ModelError: Only one of production row and production probabilities is given, or a shape is wrong.
    """
    if (production is None) != (production_proba is None):
        raise ModelError(
            "The gate cannot compare with production.",
            found="its report or its probabilities, but not both",
            expected="both, or neither when nothing is in production yet",
        )
    evidence = _Evidence(
        np.asarray(labels), candidate_proba, production_proba, baseline_proba, primary, slices or {}, resamples, seed
    )
    reasons = (
        *_bounds(candidate, gates),
        *_domain_floors(candidate, heads, gates),
        _baseline(evidence, gates.baseline),
        _production(evidence, gates.production),
        *_slices(evidence, gates.slices),
        *_behavior_floors(candidate, gates.behavior.max_fail_rate, gates.behavior.min_cases),
        *_behavior(candidate, production, gates.behavior),
        *_abilities(candidate, production, gates.abilities),
        _parity(parity, gates.parity),
        _cost(candidate, gates.cost),
    )
    return GateDecision(candidate.candidate, all(reason.passed for reason in reasons), reasons)

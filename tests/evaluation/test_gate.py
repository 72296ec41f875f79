import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ModelError, SettingsError
from evaluation.behavior import BehaviorRow
from evaluation.cost import Cost, Spread
from evaluation.gate import GateDecision, decide, decide_tier
from evaluation.gates import Gates, load_gates
from evaluation.leaderboard import LeaderboardRow
from evaluation.metrics import Estimate, score
from evaluation.parity import ParityResult
from evaluation.sarcasm import SarcasmReport, SarcasmRow
from evaluation.slices import SliceRow
from evaluation.targets import TargetReport

ROWS = 3000
LABELS = np.random.default_rng(0).integers(0, 3, ROWS)
SOURCE = np.arange(ROWS) % 4 == 0  # a slice of 750 rows
GATES = load_gates()
PARITY = ParityResult(True, "no label flips")


def _calibrated(right, seed):
    """Predictions correct in a given share of rows, with that confidence: well calibrated."""
    generator = np.random.default_rng(seed)
    return _proba(np.where(generator.random(ROWS) < right, LABELS, (LABELS + generator.integers(1, 3, ROWS)) % 3), right)


def _proba(predicted, confidence):
    proba = np.full((ROWS, 3), (1 - confidence) / 2)
    proba[np.arange(ROWS), predicted] = confidence
    return proba


def _behavior(fails, n=1000, kind="MFT"):
    rate = Estimate(fails / n, 0.0, 1.0)
    return (BehaviorRow("checklist", f"a {kind} test", kind, "c", n, fails, 0, rate),)


def _row(name, proba, *, cpu_us=3500.0, fails=100):
    spread = Spread(cpu_us, cpu_us, cpu_us)
    cost = Cost(spread, spread, spread, spread, spread, 300, 1, None, 3, 64, 30)
    return LeaderboardRow(name, ROWS, score(LABELS, proba, resamples=100), cost=cost, behavior=_behavior(fails))


GOOD, OLD, BASE = _calibrated(0.72, 1), _calibrated(0.70, 2), _calibrated(0.57, 3)


def _decide(proba=GOOD, row=None, production=OLD, old_row=None, gates=GATES, **options):
    given = {"baseline_proba": BASE, "slices": {"source=x": SOURCE}, "parity": PARITY, "resamples": 300} | options
    old = None if production is None else (old_row or _row("old", production))
    return decide(
        row or _row("new", proba),
        old,
        gates,
        labels=LABELS,
        candidate_proba=proba,
        production_proba=production,
        **given,
    )


def _failed(decision):
    assert decision.passed is (not decision.failures)
    return [reason.rule for reason in decision.failures]


def test_a_better_candidate_passes_with_a_reason_for_every_rule():
    decision = _decide()
    assert decision.passed and not decision.failures
    assert [reason.rule for reason in decision.reasons] == [
        "floor: macro_recall",
        "floor: recall_negative",
        "floor: recall_neutral",
        "floor: recall_positive",
        "ceiling: ece",
        "better than VADER",
        "not worse than production",
        "slice: source=x",
        "behavior floor: checklist MFT c",
        "behavior: checklist MFT",
        "parity",
        "CPU budget",
    ]
    assert all(reason.text for reason in decision.reasons)


def test_the_first_model_passes_without_production():
    decision = _decide(production=None)
    assert decision.passed
    assert "no production model yet" in next(r.text for r in decision.reasons if r.rule == "not worse than production")


def test_a_model_trained_on_shuffled_labels_is_refused_with_reasons():
    shuffled = _proba(np.random.default_rng(9).integers(0, 3, ROWS), 0.6)
    decision = _decide(shuffled)
    assert {"floor: macro_recall", "ceiling: ece", "better than VADER", "not worse than production"} <= set(_failed(decision))
    assert re.search(r"new is refused: .*macro_recall is 0\.3\d+, at least 0\.55", decision.summary())
    assert decision.markdown().index("✗") < decision.markdown().index("✓")
    assert decision.to_dict()["passed"] is False and len(decision.to_dict()["reasons"]) == len(decision.reasons)


def test_worse_than_production_by_the_paired_interval_is_refused_and_noise_is_not():
    degraded, noise = OLD.copy(), OLD.copy()
    degraded[:60] = np.roll(OLD[:60], 1, axis=1)  # 60 of 3,000 predictions changed, most of them correct before
    flipped = np.random.default_rng(5).choice(ROWS, 8, replace=False)
    noise[flipped] = np.roll(OLD[flipped], 1, axis=1)
    assert "not worse than production" in _failed(_decide(degraded))
    assert _failed(_decide(noise)) == []


def test_better_on_the_whole_but_much_worse_on_a_slice_is_refused():
    traded = GOOD.copy()
    traded[~SOURCE] = _calibrated(0.80, 6)[~SOURCE]
    traded[SOURCE] = _calibrated(0.58, 7)[SOURCE]
    decision = _decide(traded, gates=GATES.model_copy(update={"ceilings": {}}))
    assert _failed(decision) == ["slice: source=x"]
    assert "worse by more than 3 points, beyond chance among 1 slice" in decision.failures[0].text
    small = {"tiny": SOURCE & (np.arange(ROWS) < 400)}
    assert not any(reason.rule.startswith("slice") for reason in _decide(traded, slices=small).reasons)


def test_a_domain_is_not_paid_for_with_another_and_one_slice_of_many_is_refused_only_beyond_chance():
    traded = OLD.copy()
    wrong = np.flatnonzero(SOURCE & (OLD.argmax(axis=1) == LABELS))[:30]  # 30 of 750 rows that were right
    traded[wrong] = np.roll(OLD[wrong], 1, axis=1)
    gates = GATES.model_copy(update={"ceilings": {}, "production": GATES.production.model_copy(update={"margin": 0.1})})

    def refused(**slices):
        return [rule for rule in _failed(_decide(traded, gates=gates, slices=slices)) if rule.startswith("slice")]

    assert refused(**{"source=x": SOURCE}) == [] and refused(**{"domain=x": SOURCE}) == ["slice: domain=x"]
    others = {f"other={n}": np.roll(SOURCE, n) for n in range(1, 4)} | {f"more={n}": np.arange(ROWS) % 5 == n for n in range(5)}
    assert refused(**{"domain=x": SOURCE}, **others) == ["slice: domain=x"], (
        "four points are beyond chance among nine slices, too"
    )


@pytest.mark.parametrize(
    ("fails", "refused"),
    [(100, False), (110, False), (119, False), (170, True)],  # production fails 100 of 1,000
)
def test_behavior_may_not_get_worse_by_more_than_the_margin_and_chance(fails, refused):
    decision = _decide(row=_row("new", GOOD, fails=fails))
    assert _failed(decision) == (["behavior: checklist MFT"] if refused else [])


@pytest.mark.parametrize(
    ("kind", "fails", "n", "refused"),
    [
        ("MFT", 80, 100, False),
        ("MFT", 81, 100, True),
        ("INV", 41, 100, True),
        ("DIR", 100, 100, False),
        ("MFT", 19, 19, False),  # too few cases
        ("MFT", 20, 20, True),
    ],
)
def test_no_group_of_behavior_may_fail_more_often_than_the_maximum(kind, fails, n, refused):
    row = replace(_row("new", GOOD), behavior=_behavior(fails, n, kind))
    assert _failed(_decide(row=row, production=None)) == ([f"behavior floor: checklist {kind} c"] if refused else [])


def test_the_cases_of_a_group_are_pooled_and_groups_are_not():
    parts = tuple(
        BehaviorRow("own", f"t{index}", "MFT", capability, 20, fails, 0, Estimate(fails / 20, 0.0, 1.0))
        for index, (capability, fails) in enumerate([("a", 20), ("a", 2), ("b", 0), ("c", 20)])
    )
    decision = _decide(row=replace(_row("new", GOOD), behavior=parts), production=None)
    assert _failed(decision) == ["behavior floor: own MFT c"]


def _able(row, f1=None, correlation=None):
    found = SarcasmReport(rows=(SarcasmRow("irony", 784, 311, Estimate(f1, f1 - 0.04, f1 + 0.04), 0.7, 0.7),)) if f1 else None
    towards = Estimate(correlation, correlation - 0.05, correlation + 0.05) if correlation else None
    targets = TargetReport(404, towards, 0, None, 150, Estimate(0.9, 0.8, 1.0)) if towards else None
    return replace(row, sarcasm=found, targets=targets)


@pytest.mark.parametrize(
    ("new", "old", "refused"),
    [
        ((0.65, 0.70), (0.65, 0.70), []),
        ((0.59, 0.63), (0.65, 0.70), []),  # within the interval and the margin
        ((0.57, 0.70), (0.65, 0.70), ["ability: F1 of sarcasm, irony"]),
        ((0.65, 0.61), (0.65, 0.70), ["ability: correlation with scores of companies"]),
        ((None, 0.70), (0.65, 0.70), ["ability: F1 of sarcasm, irony"]),
        ((None, None), (None, None), []),
        ((0.65, 0.70), (None, None), []),
    ],
)
def test_what_production_finds_next_to_sentiment_is_not_lost_and_not_much_worse(new, old, refused):
    decision = _decide(row=_able(_row("new", GOOD), *new), old_row=_able(_row("old", OLD), *old))
    assert _failed(decision) == refused
    assert sum(reason.rule.startswith("ability") for reason in decision.reasons) == sum(one is not None for one in old)


def test_behavior_is_compared_on_tests_that_both_have_run():
    other = replace(_row("old", OLD), behavior=_behavior(0, kind="INV"))
    reason = next(r for r in _decide(old_row=other).reasons if r.rule == "behavior")
    assert reason.passed and "no behavioral test was run on both" in reason.text


def _slice(name, value, n=500):
    return SliceRow(name, n, ("negative", "positive"), {"macro_recall": Estimate(value, 0.0, 1.0)} if value is not None else {})


@pytest.mark.parametrize(
    ("slices", "fails", "missed"),
    [
        ((_slice("a", 0.65), _slice("b", 0.645)), 900, []),
        ((_slice("a", 0.65), _slice("b", 0.63)), 900, ["slice: b"]),
        ((_slice("a", 0.65), _slice("b", 0.1, n=100)), 900, []),
        ((_slice("a", 0.65), _slice("only in the tier", 0.1)), 900, []),
        ((_slice("a", 0.65),), 960, ["behavior floor: checklist MFT c"]),
    ],
)
def test_a_tier_is_compared_with_base_on_slices_and_with_limits_on_behavior(slices, fails, missed):
    base = replace(_row("base", GOOD), slices=(_slice("a", 0.7), replace(_slice("b", 0.8), n=slices[-1].n), _slice("few", None)))
    tier = replace(_row("tier", GOOD, fails=fails), slices=slices)
    reasons = decide_tier(tier, base, GATES)
    assert [reason.rule for reason in reasons if not reason.passed] == missed
    assert any(reason.rule == "slice: a" and reason.passed for reason in reasons)


@pytest.mark.parametrize(
    ("parity", "message"), [(None, "was not checked"), (ParityResult(False, "320 flips in 10,000"), "320 flips")]
)
def test_parity_must_have_been_checked_and_passed(parity, message):
    decision = _decide(parity=parity)
    assert _failed(decision) == ["parity"] and message in decision.failures[0].text
    relaxed = GATES.model_copy(update={"parity": GATES.parity.model_copy(update={"required": False})})
    assert _decide(parity=parity, gates=relaxed).passed


def test_the_cpu_budget_is_required_and_an_unmeasured_cost_is_refused():
    assert _failed(_decide(row=_row("new", GOOD, cpu_us=25_000.0))) == []
    decision = _decide(row=_row("new", GOOD, cpu_us=25_001.0))
    assert _failed(decision) == ["CPU budget"] and "25,001" in decision.failures[0].text
    assert _failed(_decide(row=replace(_row("new", GOOD), cost=None))) == ["CPU budget"]


def test_on_few_rows_the_value_alone_must_beat_vader():
    few = np.arange(ROWS) < 60
    decision = _decide(primary=few, production=None, slices={})
    reason = next(reason for reason in decision.reasons if reason.rule == "better than VADER")
    assert "too few" in reason.text and reason.passed is (reason.found > 0)
    assert _failed(_decide(proba=BASE, row=_row("new", GOOD), production=None)) == ["better than VADER"]  # equal is not better


def test_calibration_is_not_required_on_few_rows():
    bold = _proba(GOOD.argmax(axis=1), 0.99)
    assert _failed(_decide(bold)) == ["ceiling: ece"]
    decision = _decide(bold, row=replace(_row("new", bold), n=400))
    assert decision.passed and "400 rows are too few" in next(r.text for r in decision.reasons if r.rule == "ceiling: ece")


def test_unlabeled_rows_and_other_datasets_are_not_compared():
    labels = LABELS.copy()
    labels[:500] = -1
    base = {"labels": labels, "candidate_proba": GOOD, "production_proba": OLD, "parity": PARITY, "resamples": 200}
    decision = decide(_row("new", GOOD), _row("old", OLD), GATES, **base, primary=np.arange(ROWS) < 2000)
    assert decision.passed


def test_production_needs_its_report_and_its_predictions():
    with pytest.raises(ModelError, match="not both"):
        decide(_row("new", GOOD), None, GATES, labels=LABELS, candidate_proba=GOOD, production_proba=OLD)


def test_a_decision_reads_back_from_its_json_form_and_from_that_of_an_older_version():
    decision = replace(
        _decide(), bundle="minilm-1", data_fingerprint="abc", decided_at="2026-11-28T06:38:00+00:00", unchanged=True
    )
    stored = json.loads(json.dumps(decision.to_dict()))
    assert GateDecision.from_dict(stored) == decision
    assert {"candidate", "passed", "reasons", "bundle", "data_fingerprint", "decided_at", "unchanged"} == set(stored)
    older = {"candidate": "new", "passed": True, "reasons": stored["reasons"], "markdown": "**Passed**"}
    assert GateDecision.from_dict(older) == GateDecision("new", True, decision.reasons)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_floor_is_met_exactly_when_the_value_reaches_it(floor, value):
    metrics = dict.fromkeys(score(LABELS[:10], GOOD[:10], resamples=10), Estimate(value, value, value))
    row = replace(_row("new", GOOD), metrics=metrics)
    gates = Gates(floors={"macro_recall": floor})
    decision = decide(row, None, gates, labels=LABELS, candidate_proba=GOOD, parity=PARITY)
    assert decision.passed is (value >= floor)


def test_an_undefined_recall_is_refused():
    nan = float("nan")
    row = _row("new", GOOD)
    row = replace(row, metrics=row.metrics | {"recall_neutral": Estimate(nan, nan, nan)})
    assert _failed(_decide(row=row)) == ["floor: recall_neutral"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flors: {macro_recall: 0.5}", r"flors[\s\S]*Did you mean 'floors'\?"),
        ("slices: {marginn: 0.5}", r"slices.marginn[\s\S]*Did you mean 'margin'\?"),
        ("slices: {margin: 3}", r"slices.margin[\s\S]*less than or equal to 1"),
        ("floors: {macro_recal: 0.5}", r"macro_recal[\s\S]*Did you mean 'macro_recall'\?"),
        ("floors: [1]", r"floors"),
        ("- a list", r"has no mapping"),
    ],
)
def test_an_invalid_rule_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_gates(path)


def test_a_domain_with_a_head_has_a_floor_and_one_without_has_none():
    weak = replace(_row("new", GOOD), slices=(_slice("domain=news", 0.49), _slice("domain=tweets", 0.6), _slice("source=x", 0.1)))
    assert _failed(_decide(row=weak, heads=["general", "news", "tweets"])) == ["floor: news"]
    assert _failed(_decide(row=weak, heads=["general", "tweets"])) == []
    (reason,) = _decide(row=weak, heads=["news"]).failures
    assert (reason.found, reason.limit) == (0.49, 0.5) and "head news is 0.4900 on 500 rows" in reason.text
    few = replace(weak, slices=(replace(_slice("domain=news", 0.49), n=199), _slice("domain=tweets", None)))
    assert _failed(_decide(row=few, heads=["news", "tweets"])) == [], "too few rows decide nothing"
    with pytest.raises(ValueError, match="sport"):
        Gates(domain_floors={"sport": 0.5})

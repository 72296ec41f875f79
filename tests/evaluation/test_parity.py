import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.parity import (
    BatchInvariance,
    ExportReport,
    ParityResult,
    ParityRow,
    batch_invariance,
    choose,
    compare,
    pareto,
    reasons_against,
)

RNG = np.random.default_rng(0)


def proba(n=2000, seed=0):
    exponent = np.exp(np.random.default_rng(seed).normal(size=(n, 3)) * 2)
    return exponent / exponent.sum(axis=1, keepdims=True)


def flipped(reference, share):
    changed = reference.copy()
    rows = RNG.permutation(len(reference))[: int(share * len(reference))]
    changed[rows] = np.roll(changed[rows], 1, axis=1)
    return changed


LABELS = proba().argmax(axis=1)


def row(share=0.0, *, exact=False, name="q", cpu=None, batch=None):
    found = compare(name, LABELS, proba(), flipped(proba(), share), exact_arithmetic=exact, resamples=200)
    return replace(found, cpu_us=cpu, batch=batch)


def test_equal_predictions_pass_without_flips():
    same = row(exact=True)
    assert (same.flips_per_10000, same.max_gap, same.recall_difference.value) == (0, 0, 0)
    assert reasons_against(same) == []


def test_flips_are_counted_and_limited():
    assert row(0.005).flips_per_10000 == pytest.approx(50)
    assert reasons_against(row(0.004)) == []
    assert "300 labels per 10,000 flip, at most 100" in reasons_against(row(0.03))[0]
    assert "none allowed" in reasons_against(row(0.001, exact=True))[0]


def test_lost_recall_is_refused():
    assert any("macro-recall" in reason for reason in reasons_against(row(0.03)))


def test_batch_invariance_measures_the_effect_of_batch_mates():
    alone = {f"text {n}" + " long" * (n % 30): p for n, p in enumerate(proba(100))}

    def steady(texts):
        return np.array([alone[text] for text in texts])

    def swayed(texts):
        return steady(texts) if len(texts) == 1 else np.roll(steady(texts), 1, axis=1)

    assert batch_invariance(steady, list(alone)) == BatchInvariance(100, 0.0, 0.0)
    found = batch_invariance(swayed, list(alone))
    assert found.flips == 1.0
    assert len(reasons_against(row(batch=found))) == 2


def test_exact_takes_the_cheapest_that_passes_and_fast_the_cheapest_that_keeps_recall():
    fp32 = row(exact=True, name="fp32", cpu=100.0)
    good, bad = row(0.004, name="good", cpu=50.0), row(0.012, name="bad", cpu=25.0)
    assert reasons_against(bad) and bad.recall_difference.value < 0
    rows = [fp32, good, bad]
    assert choose(rows, "exact").name == "good"
    kept = compare("flips", LABELS, proba(), proba(), exact_arithmetic=False, resamples=50)
    flips_only = replace(kept, flips_per_10000=200.0, cpu_us=10.0)
    assert choose([*rows, flips_only], "exact").name == "good"
    assert choose([*rows, flips_only], "fast").name == "flips"
    with pytest.raises(ValueError, match="no export variant"):
        choose([bad], "exact")


def test_the_pareto_front_has_the_rows_that_no_other_dominates():
    rows = [row(name="fp32", cpu=100.0), row(0.01, name="fast", cpu=20.0), row(0.02, name="worse", cpu=30.0)]
    assert pareto(rows) == ["fp32", "fast"]


def test_json_and_back():
    found = row(0.01, cpu=3.0, batch=BatchInvariance(10, 0.1, 0.2))
    assert ParityRow.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_an_export_report_reads_back_and_fast_mode_allows_flips():
    torch = row(exact=True, name="torch", cpu=9.0)
    int8 = row(0.004, name="int8", cpu=3.0, batch=BatchInvariance(100, 0.0, 0.01))
    flips = replace(int8, reasons=["400 labels per 10,000 flip"])
    report = ExportReport("minilm", "exact", "int8", "minilm-1", ("int8",), (torch, flips))
    stored = json.loads(json.dumps(report.to_dict()))
    assert json.loads(json.dumps(ExportReport.from_dict(stored).to_dict())) == stored
    assert set(stored) == {"candidate", "mode", "chosen", "bundle", "pareto", "rows", "left_out"}
    assert report.chosen_row is flips and report.parity() == ParityResult(False, "400 labels per 10,000 flip")
    assert replace(report, mode="fast").parity() == ParityResult(True, "int8 predicts as torch does: 40 flips per 10,000")

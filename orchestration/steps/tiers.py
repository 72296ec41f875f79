"""The smaller tiers of a bundle: every trained student that predicts what it was trained to, and is worth its place."""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.artifacts import sha256_file
from evaluation.cost import measure_cost
from evaluation.gate import decide_tier
from evaluation.metrics import macro_recall, score
from evaluation.operating_points import Measured, Point, cascaded, operating_points
from evaluation.parity import batch_invariance, compare, reasons_against
from evaluation.sarcasm import SarcasmReport
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.evaluation import evaluate_candidate, load_rules, trained
from orchestration.steps.predictions import frozen_rows, label_ids, predict, primary_mask
from orchestration.steps.training import finds_sarcasm, is_up_to_date
from orchestration.steps.variants import FP32, OPTIMIZED, write_variants
from serving.bundle import MODEL, TOKENIZER, Bundle
from serving.tiers import BASE, Calibration
from training.candidates import Candidate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ExportedTiers:
    """What `write_bundle` takes of tiers, and which students were left out."""

    files: dict[str, Path] = field(default_factory=dict)
    tiers: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Students that are no tier, with the reason."""


@dataclass(frozen=True)
class _Converted:
    candidate: Candidate
    folder: Path
    scheme: str
    temperature: float
    flips: float
    proba: np.ndarray
    """Calibrated probabilities of the validation rows."""
    proba_test: np.ndarray
    """Of the test rows of the ranking."""
    heads: tuple[str, ...]
    sarcasm: Calibration | None


def students(layout: Layout, base: Candidate) -> list[Candidate]:
    """Return the trained students that may be tiers next to this base model."""
    return [one for one in trained(layout) if one.kind == "student" and one.name != base.name]


def export_tiers(layout: Layout, base: Candidate, bundle: Bundle) -> ExportedTiers:
    """Export every trained student, compare it with its checkpoint, and measure all of them and `base` in turns.

    Args:
        layout: Where the students are stored.
        base: The candidate of the bundle.
        bundle: The bundle without tiers, calibrated.
    """
    rules, of_base = load_rules(layout), evaluate_candidate(layout, base).row
    left_out: dict[str, str] = {}
    converted: dict[str, _Converted] = {}
    for student in students(layout, base):
        if not is_up_to_date(layout, student):
            left_out[student.name] = "it was trained on other data, with other settings or by another teacher"
            continue
        missed = [one.text for one in decide_tier(evaluate_candidate(layout, student).row, of_base, rules) if not one.passed]
        found = "; ".join(missed) or _convert(layout, student, bundle)
        if isinstance(found, str):
            left_out[student.name] = found
        else:
            converted[student.name] = found
    if not converted:
        return ExportedTiers(left_out=left_out)
    return _select(layout, bundle, converted, left_out, rules.tiers.share)


def _convert(layout: Layout, student: Candidate, bundle: Bundle) -> _Converted | str:
    """Return the first variant that passes parity, or why there is none. The scheme of `base` comes first."""
    from serving.classifier import open_classifier

    evaluated = evaluate_candidate(layout, student)
    scheme = bundle.manifest.quantization
    schemes = [] if scheme in (FP32, OPTIMIZED) else [scheme]
    variants = write_variants(
        layout, student, schemes, layout.export / "tiers" / student.name, temperature=evaluated.row.temperature
    )
    if sha256_file(variants[FP32] / TOKENIZER) != bundle.manifest.files[TOKENIZER]:
        return "its tokenizer is not that of the base model"
    val = frozen_rows(layout, "val")
    texts, labels = val["text"].tolist(), label_ids(val)
    reasons = ""
    for name in [one for one in (*schemes, OPTIMIZED, FP32) if one in variants]:
        classifier = open_classifier(variants[name])
        proba = predict(classifier, val, f"{student.name}, {name}: validation rows")
        row = compare(name, labels, evaluated.proba_val, proba, exact_arithmetic=name in (FP32, OPTIMIZED))
        classifier.token_budget = 10**9  # texts of one call run in one batch
        against = reasons_against(replace(row, batch=batch_invariance(classifier.predict_proba, texts)))
        if not against:
            test = predict(open_classifier(variants[name]), _test_rows(layout), f"{student.name}: test rows")
            return _Converted(
                student,
                variants[name],
                name,
                evaluated.row.temperature,
                row.flips_per_10000,
                proba,
                test,
                classifier.bundle.manifest.heads,
                calibration_of(evaluated.row.sarcasm) if finds_sarcasm(layout, student) else None,
            )
        reasons = f"{name}: {'; '.join(against)}"
    return f"no variant passes parity; {reasons}"


def calibration_of(report: SarcasmReport | None) -> Calibration:
    """Return the calibration of sarcasm for a bundle; where no test row labels sarcasm, none was fitted."""
    return Calibration(scale=report.scale, offset=report.offset) if report else Calibration()


def _select(
    layout: Layout, bundle: Bundle, converted: dict[str, _Converted], left_out: dict[str, str], share: float
) -> ExportedTiers:
    """Keep the tiers that are cheaper than `base` and good enough, and make the operating points."""
    from serving.classifier import open_classifier

    val = frozen_rows(layout, "val")
    texts, labels = val["text"].tolist(), label_ids(val)
    folders = {BASE: bundle.directory} | {name: one.folder for name, one in converted.items()}
    factories = {name: partial(open_classifier, folder, threads=1) for name, folder in folders.items()}
    costs = measure_cost(factories, texts, layout.settings(EvaluationSettings), progress=report)
    cpu = {name: costs[name].cpu_us_per_text.value for name in folders}
    base = Measured(predict(open_classifier(bundle.directory), val, "base: validation rows"), cpu[BASE])
    least = share * macro_recall(labels, base.proba)
    kept = {BASE: base}
    for name, one in converted.items():
        found = macro_recall(labels, one.proba)
        if cpu[name] >= base.cpu_us:
            left_out[name] = f"it takes {cpu[name]:.0f} µs of CPU per text, and base {base.cpu_us:.0f}"
        elif found < least:
            left_out[name] = f"macro-recall {100 * found:.1f} on the validation split, at least {100 * least:.1f} required"
        else:
            kept[name] = Measured(one.proba, cpu[name])
    names = sorted((name for name in kept if name != BASE), key=lambda name: kept[name].cpu_us)
    if not names:
        return ExportedTiers(left_out=left_out)
    test = _test_rows(layout)
    on_test = {name: one.proba_test for name, one in converted.items()}
    on_test[BASE] = predict(open_classifier(bundle.directory), test, "base: test rows")
    points = [
        asdict(point) | {"test_macro_recall": _on_test(layout, point, on_test, label_ids(test))}
        for point in operating_points(labels, BASE, kept)
    ]
    return ExportedTiers(
        files={name: converted[name].folder / MODEL for name in names},
        tiers={name: _tier(converted[name], kept[name], labels) for name in names},
        points=points,
        left_out=left_out,
    )


def _tier(one: _Converted, measured: Measured, labels: np.ndarray) -> dict[str, Any]:
    return {
        "title": one.candidate.title,
        "temperature": one.temperature,
        "heads": one.heads,
        "sarcasm": one.sarcasm,
        "quantization": one.scheme,
        "cpu_us": round(measured.cpu_us, 1),
        "metrics": {
            "val_macro_recall": round(macro_recall(labels, measured.proba), 6),
            "flips_per_10000": one.flips,
        },
    }


def _test_rows(layout: Layout) -> "pd.DataFrame":
    test = frozen_rows(layout, "test")
    return test[primary_mask(layout, test)]


def _on_test(layout: Layout, point: Point, probas: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Return the macro-recall of a point on the test rows, with its interval."""
    proba = cascaded(probas[point.tier], probas[BASE], point.threshold)
    settings = layout.settings(EvaluationSettings)
    found = score(labels, proba, resamples=settings.bootstrap_resamples, seed=settings.seed)["macro_recall"]
    return {name: value for name, value in found.to_dict().items() if value is not None}

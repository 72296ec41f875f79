"""Export the winner to ONNX in several variants, and write one of them as the bundle that is served."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.artifacts import is_current, mark_current, read_json, write_json
from data.catalog import load_catalog
from data.cleaning import CLEANING_VERSION, clean
from data.errors import BundleError, ModelError
from data.language import ENGLISH
from evaluation.cost import measure_cost
from evaluation.parity import ExportReport, ParityRow, batch_invariance, choose, compare, pareto, reasons_against
from evaluation.settings import EvaluationSettings
from orchestration.layout import Layout
from orchestration.progress import report
from orchestration.steps.data import read_splits
from orchestration.steps.evaluation import evaluate_candidate, load_rules, read_leaderboard, winner, write_leaderboard
from orchestration.steps.predictions import EvaluatedCandidate, frozen_rows, label_ids, predict
from orchestration.steps.served import bundle_row
from orchestration.steps.tiers import calibration_of, export_tiers, students
from orchestration.steps.training import (
    candidate_folder,
    finds_sarcasm,
    learned_targets,
    predictor_key,
    trained_heads,
    trained_report,
)
from orchestration.steps.variants import FP32, OPTIMIZED, TORCH, write_variants
from serving.bundle import MODEL, PARITY, TOKENIZER, Bundle, read_bundle, write_bundle
from training.candidates import Candidate
from training.settings import TrainingSettings

EXPORT_VERSION = "3"
"""Raise it when exporting or quantizing changes."""
PARITY_TEXTS = 200


def export_winner(layout: Layout) -> Bundle:
    """Export the winner, compare every export variant with torch, choose one, and write its bundle.

    Variants are evaluated on the validation rows: the test rows are for the promotion gate only.

    Returns:
        The chosen bundle, in `var/bundles/<version>/`.

    Raises:
        ModelError: No variant passes parity with torch, not even float32 ONNX.
    """
    from training.onnx_quantize import SCHEMES

    candidate = winner(layout)
    settings = layout.settings(TrainingSettings)
    key = {
        "candidate": predictor_key(layout, candidate),
        "students": {one.name: predictor_key(layout, one) for one in students(layout, candidate)},
        "data": read_splits(layout).fingerprint,
        "evaluation": layout.settings(EvaluationSettings).model_dump(mode="json"),
        "schemes": list(SCHEMES),
        "tiers": load_rules(layout).model_dump(
            mode="json", include={"tiers": True, "slices": {"metric", "min_rows"}, "behavior": {"min_cases"}}
        ),
        "mode": settings.quantization,
        "export": EXPORT_VERSION,
        "cleaning": CLEANING_VERSION,
    }
    if not is_current(layout.export, key):
        _export_and_select(layout, candidate, settings)
        mark_current(layout.export, key)
    bundle = current_bundle(layout)
    bundle_row(layout, bundle)
    write_leaderboard(layout)
    return bundle


def _export_and_select(layout: Layout, candidate: Candidate, settings: TrainingSettings) -> None:
    from evaluation.plots import plot_export_variants
    from training.onnx_quantize import SCHEMES

    evaluated = evaluate_candidate(layout, candidate)
    shutil.rmtree(layout.export, ignore_errors=True)
    layout.export.mkdir(parents=True)
    variants = write_variants(layout, candidate, list(SCHEMES), layout.export)
    rows = _measure(layout, candidate, variants)
    rows = [replace(row, reasons=reasons_against(row)) for row in rows]
    try:
        chosen = choose([row for row in rows if row.name != TORCH], settings.quantization)
    except ValueError:
        raise ModelError(
            f"No ONNX variant of {candidate.name} passes parity with torch.",
            found="; ".join(f"{row.name}: {', '.join(row.reasons)}" for row in rows),
        ) from None
    bundle, left_out = _write_final(layout, candidate, variants[chosen.name], chosen, evaluated)
    plot_export_variants(rows, layout.export_plot)
    exported = ExportReport(
        candidate=candidate.name,
        mode=settings.quantization,
        chosen=chosen.name,
        bundle=bundle.manifest.version,
        pareto=tuple(pareto([row for row in rows if row.name != TORCH])),
        rows=tuple(rows),
        left_out=left_out,
    )
    write_json(layout.export_report, exported.to_dict())


def _measure(layout: Layout, candidate: Candidate, variants: dict[str, Path]) -> list[ParityRow]:
    """Compare every variant's predictions on the validation rows with torch, and measure the CPU time of all of them in turns."""
    from serving.classifier import open_classifier
    from training.predictors import load_predictor

    settings = layout.settings(EvaluationSettings)
    val = frozen_rows(layout, "val")
    texts, labels = val["text"].tolist(), label_ids(val)
    torch_factory = partial(load_predictor, candidate, candidate_folder(layout, candidate))
    reference = predict(torch_factory(), val, "torch: validation rows")
    factories = {TORCH: torch_factory, **{name: partial(open_classifier, folder) for name, folder in variants.items()}}
    costs = measure_cost(factories, texts, settings, progress=report)
    rows = [compare(TORCH, labels, reference, reference, exact_arithmetic=True)]
    for name, folder in variants.items():
        classifier = open_classifier(folder)
        row = compare(
            name,
            labels,
            reference,
            predict(classifier, val, f"{name}: validation rows"),
            exact_arithmetic=name in (FP32, OPTIMIZED),
            resamples=settings.bootstrap_resamples,
        )
        report(f"{name}: alone and in batches")
        classifier.token_budget = 10**9  # texts of one call run in one batch
        rows.append(replace(row, batch=batch_invariance(classifier.predict_proba, texts)))
    cpu = {name: costs[name].cpu_us_per_text.value for name in factories}
    before = {FP32: TORCH, OPTIMIZED: FP32}
    return [
        replace(
            row,
            cpu_us=round(cpu[row.name], 1),
            speed_up=round(cpu[TORCH] / cpu[row.name], 3),
            step_speed_up=None if row.name == TORCH else round(cpu[before.get(row.name, OPTIMIZED)] / cpu[row.name], 3),
            file_bytes=None if row.name == TORCH else (variants[row.name] / "model.onnx").stat().st_size,
        )
        for row in rows
    ]


def _write_final(
    layout: Layout, candidate: Candidate, variant: Path, chosen: ParityRow, evaluated: EvaluatedCandidate
) -> tuple[Bundle, dict[str, str]]:
    """Write the bundle that is served: the variant's model, calibrated, evaluated as it will be served, with tiers and card.

    Returns:
        The bundle, and the students that are no tier of it with the reason.
    """
    from evaluation.card import model_card, served_metrics

    float32 = next(row for row in read_leaderboard(layout) if row.candidate == candidate.name)
    splits = read_splits(layout)
    training = _training_of(layout, candidate)
    languages = _languages_of(training)
    arguments: dict[str, Any] = {
        "model_file": variant / "model.onnx",
        "tokenizer_file": variant / "tokenizer.json",
        "name": candidate.name,
        "languages": languages,
        "heads": trained_heads(layout, candidate),
        "sarcasm": calibration_of(evaluated.row.sarcasm) if finds_sarcasm(layout, candidate) else None,
        "targets": learned_targets(layout, candidate),
        "max_length": candidate.max_length,
        "temperature": evaluated.row.temperature,
        "quantization": chosen.name,
        "data_fingerprint": splits.fingerprint,
        "training": training,
        "parity_file": _write_parity(layout, candidate, variant),
    }
    tiers = export_tiers(layout, candidate, write_bundle(layout.export / "chosen", card="", **arguments))
    arguments |= {"tier_files": tiers.files, "tiers": tiers.tiers, "points": tiers.points}
    trial = write_bundle(layout.export / "chosen", card="", **arguments)
    row = bundle_row(layout, trial)
    dataset = layout.settings(EvaluationSettings).primary
    card = model_card(
        row,
        {
            "training": training,
            "languages": languages,
            "name": candidate.title,
            "version": trial.manifest.version,
            "dataset": dataset,
            "base_model": candidate.hub or candidate.package or "none",
            "base_license": candidate.license,
            "data_fingerprint": splits.fingerprint,
            "quantization": chosen.name,
            "max_length": candidate.max_length,
            "heads": arguments["heads"],
            "targets": arguments["targets"],
            "tiers": tiers.tiers,
            "points": tiers.points,
            "parity": f"{chosen.flips_per_10000:g} labels per 10,000 differ from the float32 model",
        },
        float32=float32,
    )
    arguments |= {"card": card, "metrics": served_metrics(row, float32, dataset=dataset, flips=chosen.flips_per_10000)}
    final = write_bundle(layout.export / "chosen", **arguments)
    target = layout.bundles / final.manifest.version
    # The same version is the same model, and a deployment may be reading it: it is replaced only when its manifest has changed.
    return _unchanged(target, final) or write_bundle(target, **arguments), tiers.left_out


def _write_parity(layout: Layout, candidate: Candidate, variant: Path) -> Path:
    """Write the parity set of the bundle that is served: validation texts as token ids, with the logits of float32 ONNX."""
    from data.tokenization import encode, load_tokenizer, pad_id
    from serving.engines.engine import DEFAULT_ENGINE, open_engine
    from serving.engines.parity import write_parity

    tokenizer = load_tokenizer(variant / TOKENIZER, max_length=candidate.max_length)
    texts = frozen_rows(layout, "val")["text"]
    sample = texts.sample(min(len(texts), PARITY_TEXTS), random_state=0)
    float32, served = (open_engine(DEFAULT_ENGINE, folder / MODEL, 1) for folder in (layout.export / FP32, variant))
    file = layout.export / PARITY
    write_parity(file, encode(tokenizer, [clean(text) for text in sample]), pad_id(tokenizer), float32=float32, served=served)
    return file


def _unchanged(target: Path, final: Bundle) -> Bundle | None:
    try:
        known = read_bundle(target)
    except BundleError:  # missing, damaged, or of an older format
        return None
    return known if known.manifest == final.manifest else None


def _training_of(layout: Layout, candidate: Candidate) -> dict[str, Any]:
    """Return how the candidate was trained, for the bundle: rows used and available, by dataset too, epochs, seed, date."""
    trained = trained_report(layout, candidate)
    catalog = load_catalog()
    datasets = [
        {"name": name, "domain": catalog[name].domain, "license": catalog[name].license, **rows}
        for name, rows in trained.get("datasets", {}).items()
        if name in catalog
    ]
    return {
        "rows": trained.get("rows", 0),
        "rows_available": sum(each["rows_available"] for each in datasets) or None,
        **{name: trained.get(name) for name in ("epochs", "seed", "trained_at")},
        "from_scratch": candidate.from_scratch,
        "datasets": datasets,
    }


def _languages_of(training: dict[str, Any]) -> tuple[str, ...]:
    """Return the languages of the datasets that a model was trained on; those of feedback are theirs."""
    catalog = load_catalog()
    specs = [catalog[each["name"]] for each in training["datasets"]]
    return tuple(sorted({spec.language for spec in specs if not spec.feedback})) or ENGLISH


def read_export_report(layout: Layout) -> ExportReport:
    """Return the report of the last export: every variant, and the one that was chosen.

    Raises:
        ModelError: There was none.
    """
    try:
        return ExportReport.from_dict(read_json(layout.export_report))
    except OSError as error:
        raise ModelError("Nothing has been exported yet.", remedy="Run `groundswell export`.") from error


def current_bundle(layout: Layout) -> Bundle:
    """Return the bundle of the last export."""
    return read_bundle(layout.bundles / read_export_report(layout).bundle)

"""Sarcasm: what teaches it, what its output predicts in every form of a model, and how it is measured."""

import numpy as np
import pandas as pd
import pytest

from data.labels import LABEL_IDS, LABELS, states_sarcasm
from evaluation.sarcasm import SarcasmReport, calibrate, fit_calibration, sarcasm_rows, score_counts
from serving.bundle import read_bundle, write_bundle
from serving.classifier import Classifier
from serving.engines.engine import ENGINES, open_engine
from serving.tiers import Calibration
from tests.make import BLAME, PLAIN, PRAISE, labeled, text_of
from tests.models import tiny_candidate, write_checkpoint
from training.distill import TARGET, student_rows
from training.finetune import _marks, class_weights, finetune, loss_of_heads
from training.heads import (
    LEAST_ROWS,
    ONE_HEAD,
    SARCASM,
    SARCASM_ONLY,
    heads_and_columns,
    learns_sarcasm,
    output_names,
    sarcasm_column,
)
from training.onnx_export import export_fp32
from training.onnx_optimize import optimize
from training.onnx_quantize import quantize
from training.predictors import load_predictor
from training.settings import DistillationSettings, TrainingSettings


def marked(count: int, *, start: int = 0) -> pd.DataFrame:
    """Rows that label sarcasm only: praise is sarcastic after the words `not http`."""
    rows = [(f"{'not http' if n % 2 else 'the'} {text_of('positive', start + n)}", bool(n % 2)) for n in range(count)]
    frame = pd.DataFrame(rows, columns=["text", "sarcasm"])
    frame["sarcasm"] = frame["sarcasm"].astype("boolean")
    return frame.assign(label=pd.array([None] * count, dtype="string"), domain="tweets", source="irony", split="train")


def test_a_model_learns_sarcasm_from_enough_rows_of_both_kinds():
    assert learns_sarcasm(marked(LEAST_ROWS)) and not learns_sarcasm(marked(LEAST_ROWS - 1))
    assert not learns_sarcasm(marked(2 * LEAST_ROWS)[::2]), "all alike"
    assert not learns_sarcasm(labeled(300)) and not learns_sarcasm(labeled(300).drop(columns="sarcasm"))


def test_the_output_is_the_last_and_found_in_any_place():
    names = output_names(("general", "news"), sarcasm=True)
    assert names[-1] == SARCASM and len(names) == 7
    assert heads_and_columns("m", dict(enumerate(names))) == (("general", "news"), list(range(6)))
    assert sarcasm_column(dict(enumerate(names))) == 6 and sarcasm_column(dict(enumerate(LABELS))) is None
    first = {0: SARCASM, 1: "positive", 2: "negative", 3: "neutral"}
    assert heads_and_columns("m", first) == (ONE_HEAD, [2, 3, 1]) and sarcasm_column(first) == 0


def test_a_row_counts_for_what_it_labels_and_a_sarcastic_one_against_positive():
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

    torch.manual_seed(0)
    logits = torch.randn(4, 7)  # two heads, and sarcasm
    labels = torch.tensor([[0, 2, -1], [1, 0, 0], [1, -1, 1], [0, -1, 0]])
    plain = loss_of_heads(logits[:2, :6], labels[:2], 2)
    marks = binary_cross_entropy_with_logits(logits[1:, 6], torch.tensor([0.0, 1.0, 0.0]), reduction="sum")
    positive = [logits[2, 3 * head : 3 * head + 3].softmax(dim=0)[2] for head in (0, 1)]
    against = -(torch.log1p(-positive[0]) + torch.log1p(-positive[1])) / 2
    torch.testing.assert_close(loss_of_heads(logits, labels, 2), plain / 2 + (marks + against) / 4)
    satire = torch.where(labels == torch.tensor([1, -1, 1]), torch.tensor([1, -1, 2]), labels)
    torch.testing.assert_close(loss_of_heads(logits, satire, 2), plain / 2 + marks / 4)
    nothing = loss_of_heads(logits[:, :6], torch.full((4, 3), -1), 2)
    assert nothing == 0
    soft = torch.cat([torch.full((4, 3), 1 / 3), torch.zeros(4, 1), torch.tensor([[1.0], [0.0], [-1.0], [-1.0]])], dim=1)
    marks = binary_cross_entropy_with_logits(logits[:2, 6], torch.tensor([1.0, 0.0]), reduction="sum") / 4
    general = cross_entropy(logits[:, :3], soft[:, :3])
    torch.testing.assert_close(loss_of_heads(logits[:, [0, 1, 2, 6]], soft, 1), general + marks)


def test_rows_that_teach_sarcasm_only_are_marked_and_weigh_on_no_class():
    rows = pd.concat([marked(4), labeled(2)], ignore_index=True)
    only = rows.assign(**{SARCASM_ONLY: rows.index < 2})
    assert _marks(rows)[:4] == [0, 1, 0, 1] and _marks(only)[:4] == [0, 2, 0, 1]
    counted = [(0, label, -1) for label in (0, 0, 0, 1, 1, 2)]
    plain, satire = (class_weights([*counted, *more], 1) for more in ([], [(0, -1, 2)] * 50))
    np.testing.assert_allclose(plain.numpy(), satire.numpy())


def test_a_student_keeps_what_its_teacher_takes_satire_for():
    rows = pd.concat([marked(4), labeled(2)], ignore_index=True).assign(source="x", **{SARCASM_ONLY: False})
    rows.loc[1, SARCASM_ONLY] = True
    learned = student_rows(rows, np.full((len(rows), 3), 1 / 3), ["x"], DistillationSettings.load())
    targets = np.stack(learned[TARGET].tolist())
    np.testing.assert_allclose(targets[[1, 3]], [[1 / 3] * 3, [0.5, 0.5, 0.0]], atol=1e-6)


def test_sarcastic_rows_leave_the_classes_of_a_head_as_heavy_as_each_other():
    rows = [(0, label, -1) for label in (0, 0, 0, 1, 1, 2)] + [(0, -1, 1)] * 3 + [(0, -1, 0)] * 5
    weights = class_weights(rows, 1).numpy()[0]
    np.testing.assert_allclose(weights * [3, 2, 1] + [1.5, 1.5, 0], 3.0)
    many = class_weights([*rows, *[(0, -1, 1)] * 100], 1).numpy()[0]
    assert (many > 0).all(), "however many there are"


def test_a_sarcastic_text_is_never_a_positive_target_of_a_student():
    rows = pd.concat([marked(4), labeled(2)], ignore_index=True).assign(source="x")
    learned = student_rows(rows, np.full((len(rows), 3), 1 / 3), ["x"], DistillationSettings.load())
    targets = np.stack(learned[TARGET].tolist())
    np.testing.assert_allclose(targets[[1, 3]], [[0.5, 0.5, 0.0]] * 2, atol=1e-6)
    np.testing.assert_allclose(targets[[0, 2]], 1 / 3, atol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny model that learned sentiment from one dataset and sarcasm from another."""
    folder = tmp_path_factory.mktemp("sarcasm")
    rows = labeled(200)
    train, val = (rows[rows["split"] == split] for split in ("train", "val"))
    train = pd.concat([train, marked(LEAST_ROWS)], ignore_index=True)
    candidate = tiny_candidate(write_checkpoint(folder / "base"))
    settings = TrainingSettings.load(epochs=5, evaluations=2, bf16=False, seed=3)
    result = finetune(candidate, train, val.reset_index(drop=True), folder / "tiny", settings)
    return folder, candidate, result, rows[rows["split"] == "test"].reset_index(drop=True)


@pytest.mark.integration
def test_a_model_learns_both(trained):
    folder, candidate, result, test = trained
    assert result.sarcasm and result.heads == ONE_HEAD and result.datasets["irony"]["rows"] == LEAST_ROWS
    predictor = load_predictor(candidate, folder / "tiny")
    unseen = marked(120, start=5_000)
    texts, sarcastic = unseen["text"].tolist(), unseen["sarcasm"].to_numpy(dtype=bool)
    found = predictor.predict_sarcasm(texts)
    assert found is not None and ((found > 0.5) == sarcastic).mean() > 0.95
    predicted = predictor.predict_proba(texts).argmax(axis=1)
    assert (predicted[sarcastic] == LABEL_IDS["positive"]).mean() < 0.1
    right = predictor.predict_proba(test["text"].tolist()).argmax(axis=1) == test["label"].map(LABEL_IDS)
    assert right.mean() > 0.9


@pytest.mark.integration
@pytest.mark.parametrize("form", ["fp32", "optimized", "int8_rowwise", "int8_static", "int8_weight_only", "int8_dynamic"])
def test_every_form_finds_what_torch_does(form, trained, tmp_path):
    from data.cleaning import clean
    from data.tokenization import encode, load_tokenizer

    folder, candidate, _, test = trained
    checkpoint = folder / "tiny" / "checkpoint"
    fp32 = export_fp32(checkpoint, tmp_path / "fp32.onnx")
    optimized = optimize(fp32, tmp_path / "optimized.onnx")
    texts = [*marked(40, start=5_000)["text"], *test["text"].head(20)]
    files = {"fp32": fp32, "optimized": optimized}
    if form not in files:
        ids = encode(load_tokenizer(checkpoint / "tokenizer.json", max_length=32), [clean(text) for text in texts])
        batch = np.array([row for row in ids if len(row) == len(ids[0])])
        files[form] = quantize(
            form,
            fp32_file=fp32,
            optimized_file=optimized,
            out_file=tmp_path / "q.onnx",
            calibration=[(batch, np.ones_like(batch))],
        )
    calibration = Calibration(scale=0.7, offset=-0.4)
    bundle = write_bundle(
        tmp_path / "bundle",
        model_file=files[form],
        tokenizer_file=checkpoint / "tokenizer.json",
        card="",
        name="sarcastic",
        max_length=32,
        sarcasm=calibration,
    )
    assert read_bundle(tmp_path / "bundle") == bundle
    predictor = load_predictor(candidate, folder / "tiny")
    expected = calibrate(predictor.predict_sarcasm(texts), calibration.scale, calibration.offset)
    for engine in ENGINES:
        classifier = Classifier(bundle, threads=1, engine=open_engine(engine, files[form], 1))
        tolerance = 1e-4 if form in ("fp32", "optimized") else 0.2
        np.testing.assert_allclose(classifier.predict_sarcasm(texts), expected, atol=tolerance)
        np.testing.assert_allclose(classifier.predict_proba(texts), predictor.predict_proba(texts), atol=max(tolerance, 0.01) * 2)
        found = [one.sarcasm for one in classifier.classify(texts)]
        np.testing.assert_allclose(found, classifier.predict_sarcasm(texts), atol=1e-4)
    long = " ".join([*texts[:6]])
    (whole,) = classifier.classify([long])
    assert len(whole.windows) > 1 and 0 <= whole.sarcasm <= 1


def test_probabilities_are_calibrated_and_keep_their_order():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=4_000)
    sarcastic = rng.random(4_000) < 1 / (1 + np.exp(-(2 * logits - 1)))
    proba = 1 / (1 + np.exp(-logits))
    scale, offset = fit_calibration(sarcastic, proba)
    assert scale == pytest.approx(2, abs=0.3) and offset == pytest.approx(-1, abs=0.2)
    assert (np.argsort(calibrate(proba, scale, offset)) == np.argsort(proba)).all()
    assert fit_calibration(np.ones(10, dtype=bool), proba[:10]) == (1.0, 0.0)
    assert fit_calibration(~sarcastic, proba) == (1.0, 0.0), "it would turn the order around"


def test_f1_of_the_sarcastic_class_by_dataset():
    frame = pd.DataFrame({"source": ["a"] * 6 + ["b"] * 2, "sarcasm": [True, True, True, False, False, False, True, False]})
    rows = sarcasm_rows(frame, np.array([0.9, 0.5, 0.1, 0.6, 0.2, 0.0, 0.1, 0.2]), resamples=200)
    assert [(row.dataset, row.n, row.sarcastic) for row in rows] == [("a", 6, 3), ("b", 2, 1)]
    assert rows[0].f1.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1)) and rows[0].precision == rows[0].recall == 2 / 3
    assert rows[0].f1.low < rows[0].f1.value < rows[0].f1.high
    assert rows[1].f1.value == 0
    report = SarcasmReport(1.5, -0.2, rows)
    again = SarcasmReport.from_dict(report.to_dict())
    assert again.to_dict() == report.to_dict() and again.rows[1] == rows[1]
    same = score_counts(np.array([[2, 1], [1, 2]]), resamples=200)
    assert same["sarcasm_f1"] == rows[0].f1


def test_what_labels_of_sarcasm_are_called():
    stated = {value: states_sarcasm(value) for value in ("Sarcastic", "not_sarcastic", "irony", "non_irony", 1, 0.0, True, "no")}
    assert list(stated.values())[:5] == [True, False, True, False, True] and stated["no"] is False
    assert states_sarcasm(0.0) is False and states_sarcasm(False) is False
    assert [states_sarcasm(value) for value in (None, "", "negative", 2, *PRAISE, *BLAME, *PLAIN)].count(None) == 4 + 18

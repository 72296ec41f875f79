"""Heads for domains: which there are, what they learn, and that every form of a model gives the same predictions by domain."""

import numpy as np
import pandas as pd
import pytest

from data.cleaning import clean
from data.domains import DOMAINS, GENERAL
from data.errors import ModelError
from data.labels import LABEL_IDS, LABELS
from data.tokenization import encode, load_tokenizer, pad_id
from serving.bundle import read_bundle, write_bundle
from serving.classifier import Classifier
from serving.engines.engine import ENGINES, open_engine
from serving.engines.parity import compare, read_parity, run_all, write_parity
from tests.make import labeled
from tests.models import tiny_candidate, write_checkpoint
from training.distill import student_rows
from training.finetune import class_weights, finetune, loss_of_heads, tokenized_rows
from training.heads import LEAST_ROWS, ONE_HEAD, head_ids, heads_and_columns, heads_for, output_names
from training.onnx_export import export_fp32
from training.onnx_optimize import optimize
from training.onnx_quantize import quantize
from training.predictors import load_predictor
from training.settings import DistillationSettings, TrainingSettings

SWAPPED = {"negative": "negative", "neutral": "positive", "positive": "neutral"}
HEADS = ("general", "tweets", "finance")


def frame(**rows_by_domain: list[str | None]) -> pd.DataFrame:
    rows = [(f"{domain} {n}", domain, label) for domain, labels in rows_by_domain.items() for n, label in enumerate(labels)]
    return pd.DataFrame(rows, columns=["text", "domain", "label"])


MANY = ["negative", "positive"] * (LEAST_ROWS // 2)


@pytest.mark.parametrize(
    ("rows", "heads"),
    [
        ({"tweets": MANY}, ONE_HEAD),
        ({"tweets": MANY, "finance": MANY}, HEADS),
        ({"tweets": MANY, "finance": MANY[:-1]}, ONE_HEAD),
        ({"tweets": MANY, "finance": ["positive"] * LEAST_ROWS}, ONE_HEAD),
        ({"finance": MANY, "support": MANY[2:], "reviews": MANY, "tweets": MANY}, ("general", "tweets", "reviews", "finance")),
        ({"tweets": [None] * LEAST_ROWS, "finance": MANY}, HEADS),  # of a student: without labels
        ({"": MANY, "other": MANY}, ONE_HEAD),
    ],
)
def test_domains_with_enough_rows_of_more_than_one_label_have_heads(rows, heads):
    assert heads_for(frame(**rows), TrainingSettings.load()) == heads
    assert heads_for(frame(**rows), TrainingSettings.load(domain_heads=False)) == ONE_HEAD
    assert heads_for(frame(**rows).drop(columns="domain"), TrainingSettings.load()) == ONE_HEAD


def test_outputs_are_named_by_head_and_found_in_any_order():
    assert output_names(ONE_HEAD) == list(LABELS)
    names = output_names(HEADS)
    assert heads_and_columns("m", dict(enumerate(names))) == (HEADS, list(range(9)))
    mixed = {
        0: "general/positive",
        1: "finance/NEU",
        2: "general/negative",
        3: "finance/neg",
        4: "general/neutral",
        5: "finance/pos",
    }
    assert heads_and_columns("m", mixed) == (("general", "finance"), [2, 4, 0, 3, 1, 5])
    assert heads_and_columns("m", {0: "bearish", 1: "neutral", 2: "bullish"}) == (ONE_HEAD, [0, 1, 2])
    with pytest.raises(ModelError, match="'m' cannot be mapped"):
        heads_and_columns("m", {0: "general/positive", 1: "general/negative", 2: "finance/neutral"})


def test_a_domain_without_a_head_belongs_to_general():
    assert head_ids(HEADS, frame(tweets=["neutral"], news=["neutral"], finance=["neutral"])) == [1, 0, 2]
    assert head_ids(ONE_HEAD, frame(tweets=["neutral"], finance=["neutral"])) == [0, 0]


def test_classes_are_weighted_within_their_head():
    rows = [(0, 0), (0, 0), (0, 0), (0, 2), (1, 0), (1, 0), (1, 2), (1, 2), (1, -1)]
    weights = class_weights(rows, 2).numpy()
    np.testing.assert_allclose(weights, [[8 / (2 * 5), 0, 8 / (2 * 3)], [1, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(class_weights([(0, n) for n in (0, 1, 1, 2)], 1).numpy(), [[4 / 3, 2 / 3, 4 / 3]], rtol=1e-6)


def test_loss_of_one_head_is_the_weighted_cross_entropy_and_of_several_the_mean_of_both():
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    labels, weights = torch.tensor([0, 1, 2, 1]), torch.rand(3, 3) + 0.5
    one = torch.randn(4, 3)
    no_mark = torch.full((4,), -1)
    of_one = torch.stack([torch.zeros(4, dtype=torch.int64), labels, no_mark], dim=1)
    assert torch.equal(loss_of_heads(one, of_one, 1, weights[:1]), cross_entropy(one, labels, weight=weights[0]))
    three, heads = torch.randn(4, 9), torch.tensor([1, 1, 1, 1])
    own = cross_entropy(three[:, 3:6], labels, weight=weights[1])
    general = cross_entropy(three[:, :3], labels, weight=weights[0])
    of_three = torch.stack([heads, labels, no_mark], dim=1)
    torch.testing.assert_close(loss_of_heads(three, of_three, 3, weights), (own + general) / 2)
    targets = torch.softmax(torch.randn(4, 3), dim=1)
    own, general = cross_entropy(three[:, 6:], targets), cross_entropy(three[:, :3], targets)
    with_head = torch.cat([targets, torch.full((4, 1), 2.0), no_mark[:, None]], dim=1)
    torch.testing.assert_close(loss_of_heads(three, with_head, 3), (own + general) / 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny model that learned the same texts with two labels swapped in one of two domains: only heads can separate them."""
    folder = tmp_path_factory.mktemp("heads")
    tweets, finance = labeled(240, domain="tweets"), labeled(240, domain="finance")
    both = pd.concat([tweets, finance.assign(label=finance["label"].map(SWAPPED))], ignore_index=True)
    train, val, test = (both[both["split"] == split].reset_index(drop=True) for split in ("train", "val", "test"))
    settings = TrainingSettings.load(epochs=6, evaluations=2, bf16=False, seed=3)
    candidate = tiny_candidate(write_checkpoint(folder / "base"))
    result = finetune(candidate, train, val, folder / "tiny", settings)
    return folder, candidate, result, test


def right(proba, rows):
    return (proba.argmax(axis=1) == rows["label"].map(LABEL_IDS)).to_numpy()


@pytest.mark.integration
def test_each_head_learns_its_domain(trained):
    folder, candidate, result, test = trained
    assert result.heads == HEADS and result.best_macro_recall > 0.9
    predictor = load_predictor(candidate, folder / "tiny")
    texts, domains = test["text"].tolist(), test["domain"].tolist()
    assert right(predictor.predict_proba(texts, domains=domains), test).mean() > 0.9
    general = predictor.predict_proba(texts)
    assert right(general, test)[(test["label"] != "negative").to_numpy()].mean() < 0.7, "it cannot know"
    np.testing.assert_array_equal(general, predictor.predict_proba(texts, domains=["news"] * len(texts)))


@pytest.mark.integration
@pytest.mark.parametrize("form", ["fp32", "optimized", "int8_rowwise", "int8_static", "int8_weight_only", "int8_dynamic"])
def test_every_form_predicts_by_domain_what_torch_does(form, trained, tmp_path):
    folder, candidate, _, test = trained
    checkpoint = folder / "tiny" / "checkpoint"
    fp32 = export_fp32(checkpoint, tmp_path / "fp32.onnx")
    optimized = optimize(fp32, tmp_path / "optimized.onnx")
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json", max_length=32)
    ids = encode(tokenizer, [clean(text) for text in test["text"]])
    files = {"fp32": fp32, "optimized": optimized}
    if form not in files:
        batch = np.array([row for row in ids if len(row) == len(ids[0])])
        calibration = [(batch, np.ones_like(batch))]
        files[form] = quantize(
            form, fp32_file=fp32, optimized_file=optimized, out_file=tmp_path / "q.onnx", calibration=calibration
        )
    engines = [open_engine("onnxruntime", file, 1) for file in (fp32, files[form])]
    write_parity(tmp_path / "parity.npz", ids, pad_id(tokenizer), float32=engines[0], served=engines[1])
    bundle = write_bundle(
        tmp_path / "bundle",
        model_file=files[form],
        tokenizer_file=checkpoint / "tokenizer.json",
        parity_file=tmp_path / "parity.npz",
        card="",
        name="headed",
        max_length=32,
        heads=HEADS,
    )
    assert read_bundle(tmp_path / "bundle") == bundle
    classifier, predictor = Classifier(bundle, threads=1), load_predictor(candidate, folder / "tiny")
    texts = test["text"].tolist()
    for domains in (None, test["domain"].tolist(), ["tweets"] * len(texts), [None, "news", "finance"] * (len(texts) // 3)):
        expected = predictor.predict_proba(texts, domains=[one or GENERAL for one in domains] if domains else None)
        found = classifier.predict_proba(texts, domains=domains)
        tolerance = 1e-4 if form in ("fp32", "optimized") else 0.25
        np.testing.assert_allclose(found, expected, atol=tolerance)
        heads = [one.head for one in classifier.classify(texts, domains=domains)]
        assert heads == [one if one in HEADS else GENERAL for one in domains or [None] * len(texts)]
    held = read_parity(bundle.directory / "parity.npz")
    assert held.logits.shape == (len(texts), 3, 3)
    for engine in ENGINES:
        logits = run_all(open_engine(engine, files[form], 1), held)
        if form in ("fp32", "optimized") or engine == "onnxruntime":
            assert compare(held, logits).reason == ""
        assert compare(held, -logits).reason, "an engine that computes something else is noticed"
    swapped = held.logits[:, [0, 2, 1]]
    assert compare(held, swapped).reason, "heads in another order, too"


@pytest.mark.integration
def test_a_student_learns_the_heads_of_its_teacher(trained, tmp_path):
    folder, candidate, _, test = trained
    both = pd.concat([labeled(240, domain=domain) for domain in ("tweets", "finance")], ignore_index=True)
    train, val = (both[both["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    teacher = load_predictor(candidate, folder / "tiny")
    soft = teacher.predict_proba(train["text"].tolist(), domains=train["domain"].tolist())
    learned = student_rows(train.assign(label=None), soft, [], DistillationSettings.load(), heads=HEADS)
    student = tiny_candidate(folder / "base", kind="student", layers=1)
    settings = TrainingSettings.load(epochs=6, evaluations=2, bf16=False, seed=3)
    assert finetune(student, learned, val, tmp_path / "student", settings).heads == HEADS
    proba = load_predictor(student, tmp_path / "student").predict_proba(test["text"].tolist(), domains=test["domain"].tolist())
    assert right(proba, test).mean() > 0.9


def test_a_student_has_no_head_that_its_teacher_lacks():
    rows = frame(tweets=MANY, finance=MANY, news=MANY).assign(source="x")
    soft = np.full((len(rows), 3), 1 / 3)
    for heads in (ONE_HEAD, HEADS):
        learned = student_rows(rows, soft, [], DistillationSettings.load(), heads=heads)
        assert heads_for(learned, TrainingSettings.load()) == heads


def test_rows_of_the_trainer_name_head_and_label_or_target(tmp_path):
    tokenizer = load_tokenizer(write_checkpoint(tmp_path / "c") / "tokenizer.json", max_length=32)
    rows = frame(tweets=["negative"], finance=["positive"], news=["neutral"])
    assert [row["labels"] for row in tokenized_rows(tokenizer, rows, HEADS)] == [[1, 0, -1], [2, 2, -1], [0, 1, -1]]
    target = rows.assign(target=[np.array([0.5, 0.25, 0.25], dtype=np.float32)] * 3)
    assert [row["labels"] for row in tokenized_rows(tokenizer, target, HEADS)] == [
        [0.5, 0.25, 0.25, head, -1] for head in (1, 2, 0)
    ]
    assert set(DOMAINS) >= set(HEADS) - {GENERAL}

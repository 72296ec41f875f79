import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cleaning import clean
from data.errors import BundleError
from serving.bundle import write_bundle
from serving.classifier import RUN_TOKENS, Classifier, plan_runs
from serving.threads import cpu_quota
from tests.make import text_of
from tests.models import some_texts, tiny_bundle, write_sum_model, write_tokenizer


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("b") / "bundle"), threads=1, token_budget=64)


def test_predictions_are_in_the_order_of_the_texts(classifier):
    texts = some_texts(100)
    labels = [prediction.label for prediction in classifier.classify(texts)]
    assert labels == [("negative", "neutral", "positive")[n % 3] for n in range(100)]


def test_prediction_is_the_most_probable_label_with_rounded_probabilities(classifier):
    for prediction in classifier.classify(["a great film", "", "\u200b", "an awful soup", "unknown words"]):
        assert prediction.confidence == max(prediction.probabilities)
        assert sum(prediction.probabilities) == pytest.approx(1, abs=2e-4)
        assert all(round(p, 4) == p for p in prediction.probabilities)


def test_no_texts_give_no_predictions(classifier):
    assert classifier.classify([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20))
def test_prediction_does_not_depend_on_batch_mates(classifier, texts):
    together = classifier.predict_proba(texts)
    assert together.shape == (len(texts), 3) and together.dtype == np.float32
    for index, text in enumerate(texts):
        np.testing.assert_allclose(classifier.predict_proba([text])[0], together[index], atol=1e-6)


def test_runs_stay_within_the_budget_of_padded_tokens(classifier):
    _, timings = classifier.classify_timed([text_of("neutral", n) for n in range(40)])
    assert timings.padded_tokens / timings.batches <= 64
    assert timings.texts == 40 and timings.tokens <= timings.padded_tokens
    _, one = classifier.classify_timed(["great " * 500])
    assert one.tokens == 500 + 2 * 17, "a long text is classified in windows of 30 words and two special tokens"


def test_long_text_is_the_mean_of_its_windows_weighted_by_tokens(classifier):
    words = ["great"] * 30 + ["awful"] * 30 + ["awful"] * 10
    text = " ".join(words)
    (prediction,) = classifier.classify([text])
    parts = [" ".join(words[start : start + 30]) for start in (0, 30, 60)]
    alone = classifier.predict_proba(parts)
    expected = np.average(alone, axis=0, weights=[32, 32, 12])
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-4)
    assert prediction.label == "negative" and [text[one.start : one.end] for one in prediction.windows] == parts
    np.testing.assert_allclose([one.probabilities for one in prediction.windows], alone, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["great", "awful", "soup", "@a", "http://x.y", "é😀", "&amp;", "\u200b", "zzz"]), max_size=120))
def test_windows_hold_the_whole_cleaned_text_in_order(classifier, words):
    text = " ".join(words)
    (prediction,) = classifier.classify([text])
    assert bool(prediction.windows) == (len(words_of(classifier, text)) > 30)
    if prediction.windows:
        cleaned, bounds = clean(text), [(one.start, one.end) for one in prediction.windows]
        assert bounds[0][0] == 0 and bounds[-1][1] == len(cleaned)
        assert all(not cleaned[a:b].strip() for (_, a), (b, _) in pairwise(bounds))


def words_of(classifier, text):
    classifier._tokenizer.no_truncation()
    try:
        return classifier._tokenizer.encode(clean(text), add_special_tokens=False).ids
    finally:
        classifier._tokenizer.enable_truncation(32)


@given(st.lists(st.integers(3, 60), max_size=9), st.integers(10, 200))
def test_plan_of_runs_has_the_least_cost(lengths, budget):
    lengths.sort(reverse=True)
    runs = plan_runs(lengths, budget)
    assert [position for start, end in runs for position in range(start, end)] == list(range(len(lengths)))

    def cost(bounds):
        parts = list(pairwise(bounds))
        if any(lengths[start] * (end - start) > budget and end - start > 1 for start, end in parts):
            return math.inf
        return sum(RUN_TOKENS + lengths[start] * (end - start) for start, end in parts)

    every = [
        [0, *(k for k in range(1, len(lengths)) if ways >> (k - 1) & 1), len(lengths)]
        for ways in range(2 ** max(0, len(lengths) - 1))
    ]
    assert not lengths or cost([0, *(end for _, end in runs)]) == min(map(cost, every))


def test_temperature_changes_confidence_but_no_label(tmp_path):
    cold, warm = (Classifier(tiny_bundle(tmp_path / f"t{t}", temperature=t), threads=1) for t in (1.0, 4.0))
    before, after = cold.classify(some_texts(12)), warm.classify(some_texts(12))
    assert [a.label for a in before] == [a.label for a in after]
    assert all(b.confidence > a.confidence for b, a in zip(before, after, strict=True))


def test_below_its_threshold_a_text_is_neutral(tmp_path):
    careful = Classifier(tiny_bundle(tmp_path / "b", thresholds={"negative": 0.99, "positive": 0.0}), threads=1)
    labels = [
        prediction.label for prediction in careful.classify(["an awful soup", "a great film", "awful awful terrible useless"])
    ]
    assert labels == ["neutral", "positive", "negative"]


def test_classifier_is_thread_safe(classifier):
    texts = some_texts(60)
    expected = classifier.classify(texts)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(classifier.classify, [texts] * 40))


@pytest.mark.parametrize("kind", ["columns", "nan", "not onnx"])
def test_model_with_unexpected_outputs_is_refused(kind, tmp_path):
    model = write_sum_model(
        tmp_path / "m.onnx", columns=2 if kind == "columns" else 3, strength=float("nan") if kind == "nan" else 1.0
    )
    if kind == "not onnx":
        model.write_bytes(b"nothing of the kind")
    made = write_bundle(
        tmp_path / "b", model_file=model, tokenizer_file=write_tokenizer(tmp_path), card="", name="bad", max_length=16
    )
    with pytest.raises(BundleError):
        Classifier(made, threads=1).classify(["a great film"])


def test_cpu_quota_of_a_container_is_used(tmp_path):
    limit = tmp_path / "cpu.max"
    limit.write_text("50000 100000\n")
    assert cpu_quota(limit) == 1
    limit.write_text("max 100000\n")
    assert cpu_quota(limit) == cpu_quota(tmp_path / "absent") >= 1


def test_serving_imports_no_torch():
    code = "import sys, serving.classifier; print([m for m in ('torch', 'transformers', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

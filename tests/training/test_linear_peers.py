"""Peers with logistic regression: they learn, their files are complete or absent, the benchmark reads them as all candidates."""

import pickle

import numpy as np
import pandas as pd
import pytest

from data.errors import CandidateUnavailable, TrainingFailed
from data.labels import LABELS
from tests.make import rows
from training.candidates import LINEAR, load_candidates, trainable
from training.linear_peers import MODEL, fit_linear_peer
from training.predictors import load_predictor
from training.settings import TrainingSettings
from training.static_vectors import StaticVectors


@pytest.mark.parametrize("name", LINEAR)
def test_it_learns_and_is_read_back(name, tmp_path):
    candidate, shown = trainable(name), []
    frame = pd.DataFrame(rows(100)).assign(source="own")
    train, val, test = (frame[frame["split"] == split] for split in ("train", "val", "test"))
    settings = TrainingSettings.load(max_train_rows=180)

    def progress(_, done):
        shown.append(done)

    fitted = fit_linear_peer(candidate, train, val, tmp_path / name, settings, progress=progress)
    assert fitted.rows == 180 and fitted.best_macro_recall > (0.9 if name == "tfidf" else 0.6)
    assert fitted.datasets == {"own": {"rows": 180, "rows_available": 210}}
    assert shown == sorted(shown) and 0.7 < shown[-1] < 1
    predictor = load_predictor(candidate, tmp_path / name)
    proba = predictor.predict_proba(test["text"].tolist())
    assert proba.dtype == np.float32 and proba.shape == (60, 3) and np.allclose(proba.sum(axis=1), 1, atol=1e-5)
    # A mean of vectors confuses some of these texts, whose words are nearly all the same; a third is chance.
    assert (np.array(LABELS)[proba.argmax(axis=1)] == test["label"]).mean() > (0.9 if name == "tfidf" else 0.6)
    assert predictor.predict_proba([]).shape == (0, 3)


def test_rows_without_all_classes_are_refused(tmp_path):
    frame = pd.DataFrame(rows(30))
    two = frame[frame["label"] != "neutral"]
    with pytest.raises(TrainingFailed, match="all three classes"):
        fit_linear_peer(trainable("tfidf"), two, frame, tmp_path / "tfidf", TrainingSettings.load())
    assert not (tmp_path / "tfidf").exists()


@pytest.mark.parametrize("name", LINEAR)
def test_it_is_a_peer_that_is_never_exported_and_trained_only_by_name(name, tmp_path):
    candidate = load_candidates()[name]
    assert candidate.on_request and candidate.is_trained_here and not candidate.exportable
    with pytest.raises(CandidateUnavailable, match="has not been trained"):
        load_predictor(candidate, tmp_path)
    assert not (tmp_path / "checkpoint" / MODEL).exists()


def test_static_vectors_weight_rare_tokens_and_are_the_same_in_any_batch():
    vectors = StaticVectors(trainable("static"))
    texts = ["the the the zebra", "the the the the", "the lion and the zebra", ""]
    learned = vectors.fit_transform(texts)
    assert learned.shape == (4, 384) and np.allclose(learned.mean(axis=0), 0, atol=1e-4)
    zebra, rest = (np.linalg.norm(learned[0] - vectors.transform([text])[0]) for text in ("zebra", "the"))
    assert zebra < rest, "what is rare counts more than what is frequent"
    assert np.allclose(vectors.transform(texts[2:]), learned[2:], atol=1e-5)
    again = pickle.loads(pickle.dumps(vectors))
    assert np.array_equal(again.transform(texts), vectors.transform(texts))

"""The TF-IDF peer: it learns, its files are complete or absent, and the benchmark reads it like every candidate."""

import numpy as np
import pandas as pd
import pytest

from data.errors import CandidateUnavailable, TrainingFailed
from data.labels import LABELS
from tests.make import rows
from training.bag_of_words import MODEL, fit_bag_of_words
from training.candidates import load_candidates, trainable
from training.predictors import load_predictor
from training.settings import TrainingSettings


def test_it_learns_and_is_read_back(tmp_path):
    candidate, shown = trainable("tfidf"), []
    frame = pd.DataFrame(rows(100)).assign(source="own")
    train, val, test = (frame[frame["split"] == split] for split in ("train", "val", "test"))
    settings = TrainingSettings.load(max_train_rows=180)

    def progress(_, done):
        shown.append(done)

    fitted = fit_bag_of_words(candidate, train, val, tmp_path / "tfidf", settings, progress=progress)
    assert fitted.rows == 180 and fitted.best_macro_recall > 0.9
    assert fitted.datasets == {"own": {"rows": 180, "rows_available": 210}}
    assert shown == sorted(shown) and 0.8 < shown[-1] < 1
    predictor = load_predictor(candidate, tmp_path / "tfidf")
    proba = predictor.predict_proba(test["text"].tolist())
    assert proba.dtype == np.float32 and proba.shape == (60, 3) and np.allclose(proba.sum(axis=1), 1, atol=1e-5)
    assert (np.array(LABELS)[proba.argmax(axis=1)] == test["label"]).mean() > 0.9
    assert predictor.predict_proba([]).shape == (0, 3)


def test_rows_without_all_classes_are_refused(tmp_path):
    frame = pd.DataFrame(rows(30))
    two = frame[frame["label"] != "neutral"]
    with pytest.raises(TrainingFailed, match="all three classes"):
        fit_bag_of_words(trainable("tfidf"), two, frame, tmp_path / "tfidf", TrainingSettings.load())
    assert not (tmp_path / "tfidf").exists()


def test_it_is_a_peer_that_is_never_exported_and_trained_only_by_name(tmp_path):
    candidate = load_candidates()["tfidf"]
    assert candidate.on_request and candidate.is_trained_here and not candidate.exportable
    with pytest.raises(CandidateUnavailable, match="has not been trained"):
        load_predictor(candidate, tmp_path)
    assert not (tmp_path / "checkpoint" / MODEL).exists()

import json

import pytest

from data.errors import CandidateUnavailable, ModelError, SettingsError
from tests.models import write_checkpoint
from training.candidates import load_candidates
from training.checkpoints import base_model


def test_offline_marks_what_is_trained_from_scratch():
    found = load_candidates()
    others = {"vader", "tfidf", "static", "minilm", "distilbert", "roberta", "mpnet", "finbert"}
    others |= {"twitter-roberta", "twitter-roberta-2020", "gpt-zero-shot", "gpt-few-shot"}
    assert set(found) == others | {"minilm-distilled", "minilm-4", "minilm-2", "minilm-1", "table"}
    assert {name for name, one in found.items() if one.kind == "student"} == set(found) - others
    assert [name for name, one in found.items() if one.from_scratch] == ["distilbert", "roberta"]
    assert "(from scratch)" in found["distilbert"].title


def test_the_hub_profile_uses_published_weights(monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PROFILE", "hub")
    assert not any(one.from_scratch for one in load_candidates().values())


def test_offline_reports_an_unavailable_base_model():
    with pytest.raises(CandidateUnavailable, match="the offline profile fetches nothing") as caught:
        base_model(load_candidates()["finbert"])
    assert "GROUNDSWELL_PROFILE=hub" in (caught.value.remedy or "")


def test_models_dir_takes_precedence(monkeypatch, tmp_path):
    write_checkpoint(tmp_path / "roberta", architecture="roberta")
    monkeypatch.setenv("GROUNDSWELL_TRAINING__MODELS_DIR", str(tmp_path))
    found = load_candidates()["roberta"]
    assert found.local and not found.from_scratch
    model, tokenizer = base_model(found)
    assert model.config.num_hidden_layers == 2 and tokenizer.is_file()


def test_an_unknown_key_suggests_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'learning_rate'"):
        load_candidates({"x": {"kind": "transformer", "title": "X", "license": "y", "learn_rate": 1}})


def test_labels_of_a_published_model_are_mapped_or_refused(tmp_path):
    known = {0: "positive", 1: "negative", 2: "neutral"}
    entry = {"finbert": {"kind": "as_is", "title": "F", "license": "x", "hub": "who/what"}}
    folder = write_checkpoint(tmp_path / "a", labels=known)
    model, _ = base_model(load_candidates(entry)["finbert"].model_copy(update={"local": str(folder)}))
    assert model.config.id2label == known
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "joy", "1": "anger", "2": "fear"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="joy"):
        base_model(load_candidates(entry)["finbert"].model_copy(update={"local": str(folder)}))


def test_outputs_without_names_get_those_of_the_entry(tmp_path):
    folder = write_checkpoint(tmp_path / "a", labels={n: f"LABEL_{n}" for n in range(3)})
    entry = {"x": {"kind": "as_is", "title": "X", "license": "y", "hub": "who/what"}}

    def load(**fields):
        return base_model(load_candidates({"x": entry["x"] | fields})["x"].model_copy(update={"local": str(folder)}))[0]

    assert load(labels=["positive", "negative", "neutral"]).config.id2label == {0: "positive", 1: "negative", 2: "neutral"}
    with pytest.raises(ModelError, match="cannot be mapped") as caught:
        load()
    assert "candidates.yaml" in (caught.value.remedy or "")
    with pytest.raises(SettingsError, match="invalid at labels"):
        load(labels=["positive", "negative", "negative"])
    named = write_checkpoint(tmp_path / "b", labels={0: "neutral", 1: "positive", 2: "negative"})
    candidate = load_candidates({"x": entry["x"] | {"labels": ["positive", "negative", "neutral"]}})["x"]
    model, _ = base_model(candidate.model_copy(update={"local": str(named)}))
    assert model.config.id2label[0] == "neutral", "the names of the model count"

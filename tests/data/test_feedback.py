import pytest

from data.catalog import load_catalog
from data.errors import MalformedData, SourceUnavailable
from data.feedback import FeedbackLabel, open_feedback
from data.settings import DataSettings
from data.sources import fetch
from data.sources.origin import enabled, from_sample
from data.splits import make_splits


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    return open_feedback(tmp_path / "var")


def labels(store):
    return sorted((row.text, row.label, round(row.label_confidence, 2)) for row in store.rows().itertuples())


def test_the_latest_label_of_each_person_and_the_most_frequent_of_all_count(store):
    for text, label, by in (
        ("Late again!", "positive", "ann"),
        ("late again", "negative", "ann"),
        ("Late again!", "neutral", "ben"),
        ("LATE AGAIN", "negative", "cleo"),
        ("thanks", "positive", "ann"),
    ):
        store.add(FeedbackLabel(text, label, by))
    assert labels(store) == [("LATE AGAIN", "negative", 0.67), ("thanks", "positive", 1.0)]


def test_a_tie_is_returned_in_full_and_removed_as_a_conflict(store):
    store.add(FeedbackLabel("fine, I guess", "positive", "ann"))
    store.add(FeedbackLabel("fine, I guess", "negative", "ben"))
    found = fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)
    import pandas as pd

    split = make_splits(pd.read_parquet(found.path))
    assert found.rows == 2 and split.kept.empty and set(split.removed["reason"]) == {"conflict"}


def test_feedback_is_enabled_as_a_dataset_once_there_is_some(store):
    catalog = load_catalog()
    sample = from_sample(catalog, "")
    assert "feedback" not in [spec.name for spec in enabled(catalog, sample)]
    store.add(FeedbackLabel("a great film", "positive", "ann", domain="reviews"))
    store.add(FeedbackLabel("an awful soup", "negative", "ann"))
    names = [spec.name for spec in enabled(catalog, sample)]
    assert "feedback" in names and "sample_tweets" in names
    import pandas as pd

    first = fetch(catalog["feedback"], DataSettings.load(), store.path.parent)
    frame = pd.read_parquet(first.path).sort_values("label")
    assert frame["domain"].tolist() == ["support", "reviews"] and set(frame["source"]) == {"feedback"}
    store.add(FeedbackLabel("one more", "neutral", "ben"))
    assert fetch(catalog["feedback"], DataSettings.load(), store.path.parent).fingerprint != first.fingerprint


def test_only_the_owner_may_read_the_store(store):
    store.add(FeedbackLabel("a great film", "positive", "ann"))
    assert store.path.stat().st_mode & 0o077 == 0


def test_an_empty_file_is_an_empty_store_and_a_corrupt_file_is_reported(store):
    assert store.is_empty() and store.rows().empty
    store.path.parent.mkdir(parents=True)
    store.path.touch()
    assert store.is_empty() and store.rows().empty
    with pytest.raises(SourceUnavailable, match="no feedback yet"):
        fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)
    store.path.write_bytes(b"no database" * 100)
    with pytest.raises(MalformedData, match="cannot be read"):
        fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)

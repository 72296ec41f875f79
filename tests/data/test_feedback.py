import pytest

from data.catalog import load_catalog
from data.errors import MalformedData, SourceUnavailable
from data.feedback import Verdict, feedback_of
from data.settings import DataSettings
from data.sources import fetch
from data.sources.origin import enabled, from_sample
from data.splits import make_splits


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_PATHS__VAR_DIR", str(tmp_path / "var"))
    return feedback_of(tmp_path / "var")


def labels(store):
    return sorted((row.text, row.label, round(row.label_confidence, 2)) for row in store.rows().itertuples())


def test_of_each_person_the_last_word_counts_and_of_all_the_most_frequent(store):
    for text, label, by in (
        ("Late again!", "positive", "ann"),
        ("late again", "negative", "ann"),
        ("Late again!", "neutral", "ben"),
        ("LATE AGAIN", "negative", "cleo"),
        ("thanks", "positive", "ann"),
    ):
        store.add(Verdict(text, label, by))
    assert labels(store) == [("LATE AGAIN", "negative", 0.67), ("thanks", "positive", 1.0)]


def test_a_tie_is_given_whole_and_removed_as_a_conflict(store):
    store.add(Verdict("fine, I guess", "positive", "ann"))
    store.add(Verdict("fine, I guess", "negative", "ben"))
    found = fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)
    import pandas as pd

    split = make_splits(pd.read_parquet(found.path))
    assert found.rows == 2 and split.kept.empty and set(split.removed["reason"]) == {"conflict"}


def test_it_is_a_dataset_once_there_is_some(store):
    catalog = load_catalog()
    sample = from_sample(catalog, "")
    assert "feedback" not in [spec.name for spec in enabled(catalog, sample)]
    store.add(Verdict("a great film", "positive", "ann", domain="reviews"))
    store.add(Verdict("an awful soup", "negative", "ann"))
    names = [spec.name for spec in enabled(catalog, sample)]
    assert "feedback" in names and "sample_tweets" in names
    import pandas as pd

    first = fetch(catalog["feedback"], DataSettings.load(), store.path.parent)
    frame = pd.read_parquet(first.path).sort_values("label")
    assert frame["domain"].tolist() == ["support", "reviews"] and set(frame["source"]) == {"feedback"}
    store.add(Verdict("one more", "neutral", "ben"))
    assert fetch(catalog["feedback"], DataSettings.load(), store.path.parent).fingerprint != first.fingerprint


def test_nobody_else_may_read_it(store):
    store.add(Verdict("a great film", "positive", "ann"))
    assert store.path.stat().st_mode & 0o077 == 0


def test_a_file_that_was_made_and_never_written_to_is_empty_and_a_damaged_one_says_so(store):
    assert store.is_empty() and store.rows().empty
    store.path.parent.mkdir(parents=True)
    store.path.touch()
    assert store.is_empty() and store.rows().empty
    with pytest.raises(SourceUnavailable, match="no feedback yet"):
        fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)
    store.path.write_bytes(b"no database" * 100)
    with pytest.raises(MalformedData, match="cannot be read"):
        fetch(load_catalog()["feedback"], DataSettings.load(), store.path.parent)

"""An optional dataset that fails is left out by name; only the primary one, or one that the settings name, stops the run."""

import gzip

import dagster as dg
import pandas as pd
import pytest

from data.artifacts import write_json
from data.catalog import load_catalog
from data.errors import DataError, SourceUnavailable
from data.feedback import FeedbackLabel, open_feedback
from orchestration.steps.data import (
    LeftOut,
    build_splits,
    fetch_datasets,
    fetch_one,
    is_required,
    only_sample,
    raw_texts,
    read_splits,
    read_texts,
    require_training_rows,
    training_datasets,
)
from orchestration.steps.retraining_state import TRAINED_FILE, labeled, read_state
from tests.make import rows, write_dataset

pytestmark = pytest.mark.integration  # each imports Great Expectations
FEEDBACK = {"domain": "support", "license": "ours", "feedback": True, "train": True}
OTHER = {"domain": "tweets", "license": "ours", "local": "other", "train": True}


def correct(place, *labels):
    store = open_feedback(place.layout.var)
    for text, label, by in labels:
        store.add(FeedbackLabel(text, label, by))


def used(place):
    """Return the splits of the present data: rows by dataset and split, and the notices."""
    splits = build_splits(place.layout, fetch_datasets(place.layout))
    require_training_rows(place.layout)
    return splits.rows, splits.notices


def test_a_recipe_is_learned_from_and_its_gaps_are_reported(place, monkeypatch):
    place.catalog(other=OTHER)
    recipes = place.root / "configs" / "recipes.yaml"
    recipes.write_text("{all: {train: [mine, other], missing: reviews of books}, one: {train: [mine]}}")
    monkeypatch.setenv("GROUNDSWELL_DATA__RECIPE", "all")
    assert used(place)[1] == ["recipe all: not available: other; reviews of books"]
    monkeypatch.setenv("GROUNDSWELL_DATA__RECIPE", "one")
    assert used(place)[1] == [] and "other" not in training_datasets()


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ([("a flight of its own", "negative", "ann")], 1),
        ([("a flight of its own", "negative", "ann"), ("some other meal", "positive", "ben")], 2),
        ([(f"complaint about seat {n} and meal {n * 7}", "negative", "ann") for n in range(150)], 150),
        ([("the same words", "negative", "ann"), ("The same words!", "negative", "ben")], 1),
        ([("callers disagree", "negative", "ann"), ("callers disagree", "positive", "ben")], 0),
        ([("a very long text " * 1000, "negative", "ann"), ("a short one of its own", "negative", "ann")], 1),
        ([("\u200b", "negative", "ann"), ("a readable one of its own", "negative", "ann")], 1),
    ],
    ids=["one row", "two rows", "one class", "duplicates", "a tie", "too long", "blank"],
)
def test_feedback_of_any_size_and_balance_is_trained_on(place, labels, kept):
    place.catalog(feedback=FEEDBACK)
    correct(place, *labels)
    found, notices = used(place)
    assert found.get("feedback/train", 0) == kept and notices == []
    assert not any(name in found for name in ("feedback/val", "feedback/test"))


def duplicate_ids(path):
    path.write_text(path.read_text().replace("neg-1,", "neg-0,"))


def unknown_label(path):
    path.write_text(path.read_text().replace(",neutral,", ",grumpy,"))


def one_class(path):
    path.write_text(path.read_text().replace(",neutral,", ",negative,").replace(",positive,", ",negative,"))


def null_texts(path):
    frame = pd.read_csv(path)
    frame.loc[frame.index[:9], "text"] = ""
    frame.to_csv(path, index=False)


def cut_gzip(path):
    path.with_name("data.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-40])
    path.unlink()


def not_utf8(path):
    path.write_bytes(path.read_bytes() + "id8,naïve,neutral,train\n".encode() + b"id9,caf\xe9,neutral,train\n")


def no_label_column(path):
    path.write_text(path.read_text().replace("label", "mood", 1))


DAMAGES = [duplicate_ids, unknown_label, one_class, null_texts, cut_gzip, not_utf8, no_label_column]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_optional_dataset_is_left_out_by_name(place, damage):
    place.catalog(other=OTHER)
    damage(write_dataset(place.root / "texts", rows(40), "other"))
    found, notices = used(place)
    assert not any(name.startswith("other/") for name in found) and found["mine/train"] > 0
    assert len(notices) == 1 and notices[0].startswith("other is left out: ")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_dataset_that_is_named_or_primary_stops_the_run(place, damage, monkeypatch):
    place.catalog(other=OTHER)
    damage(write_dataset(place.root / "texts", rows(40), "other"))
    for name, value in (("DATA__DATASETS", '["mine", "other"]'), ("EVALUATION__PRIMARY", "other")):
        with monkeypatch.context() as patch:
            patch.setenv(f"GROUNDSWELL_{name}", value)
            assert is_required(load_catalog()["other"])
            result = place.run("prepare_data")
            assert not result.success and not place.layout.splits.exists()


def test_a_file_of_your_own_that_is_damaged_is_left_out_and_comes_back_when_it_is_corrected(place):
    file = place.root / "own.csv"
    file.write_text("body,mood\n" + "".join(f"ticket {n} is open,{['angry', 'ok', 'happy'][n % 3]}\n" for n in range(200)))
    whole = file.read_bytes()
    mapping = {"angry": "negative", "ok": "neutral", "happy": "positive"}
    own = {
        "domain": "support",
        "license": "ours",
        "train": True,
        "label_mapping": mapping,
        "file": {"path": str(file), "columns": {"text": "body", "label": "mood"}},
    }
    place.catalog(own=own)
    assert used(place)[0]["own/train"] > 0
    file.write_bytes(whole.replace(b"body", b"text", 1))
    found, notices = used(place)
    assert "own/train" not in found, "earlier rows are not used silently"
    assert notices == [
        f"own is left out: {file} has no column 'body'. found: text, mood (delimiter: comma); expected: mood, body; "
        "remedy: If the first row is no header, set names. Correct the file or its column mapping."
    ]
    file.write_bytes(whole)
    found, notices = used(place)
    assert found["own/train"] > 0 and notices == []
    reading = read_splits(place.layout).reading
    assert len(reading) == 1 and reading[0].startswith("own: CSV (encoding utf-8, delimiter comma"), reading


def test_a_changed_checksum_leaves_an_optional_dataset_out(place):
    write_dataset(place.root / "texts", rows(40), "other")
    place.catalog(other=OTHER | {"sha256": "0" * 64})
    _, notices = used(place)
    assert len(notices) == 1 and "not the one in configs/datasets.yaml" in notices[0]


def test_dataset_missing_in_the_folder_is_left_out_without_a_notice(place):
    place.catalog(other=OTHER)
    left = fetch_one(place.layout, load_catalog()["other"]) if fetch_datasets(place.layout) else None
    assert isinstance(left, LeftOut) and left.absent and "other is not in" in left.why
    assert used(place)[1] == []


def test_a_damaged_feedback_file_leaves_the_feedback_out(place):
    place.catalog(feedback=FEEDBACK)
    correct(place, ("a flight of its own", "negative", "ann"))
    open_feedback(place.layout.var).path.write_bytes(b"no database" * 100)
    _, notices = used(place)
    assert len(notices) == 1 and "feedback is left out: feedback: " in notices[0] and "cannot be read" in notices[0]
    open_feedback(place.layout.var).path.write_bytes(b"")
    assert used(place)[1] == [], "an empty file holds no feedback"


def test_dataset_left_out_is_a_warning_check_and_the_run_continues(place):
    place.catalog(other=OTHER, feedback=FEEDBACK)
    duplicate_ids(write_dataset(place.root / "texts", rows(40), "other"))
    correct(place, ("a flight of its own", "negative", "ann"))
    result = place.run("prepare_data")
    assert result.success
    checks = {check.asset_key.to_user_string(): check for check in result.get_asset_check_evaluations()}
    assert checks["data/mine/validated"].passed
    for name in ("other", "feedback"):
        check = checks[f"data/{name}/validated"]
        assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN
    assert read_splits(place.layout).rows["feedback/train"] == 1
    assert read_splits(place.layout).notices[0].startswith("other is left out: expect_column_values_to_be_unique(id)")


def test_sample_with_feedback_still_counts_as_sample_only(place, monkeypatch):
    sample = {"domain": "tweets", "license": "ours", "sample": "tweets.csv", "train": True}
    place.catalog(feedback=FEEDBACK, sample_tweets=sample)
    monkeypatch.delenv("GROUNDSWELL_DATA__DIR")
    correct(place, ("a flight of its own", "negative", "ann"))
    found, _ = used(place)
    assert set(found) == {"feedback/train", "sample_tweets/train", "sample_tweets/val", "sample_tweets/test"}
    assert only_sample(place.layout), "the lenient gate, and the epochs of the sample"


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        ({"mine": {"train": False}}, "no enabled dataset is for training"),
        ({"mine": {"train": False}, "feedback": FEEDBACK}, "the split 'train' of the datasets for training has no"),
    ],
)
def test_datasets_that_are_for_evaluation_only_stop_the_run_before_a_candidate_is_trained(place, catalog, message):
    base = {"domain": "tweets", "license": "ours", "local": "mine"}
    place.catalog(**{name: base | fields if name == "mine" else fields for name, fields in catalog.items()})
    correct(place, ("a flight of its own", "negative", "ann"))
    with pytest.raises(SourceUnavailable, match="nothing to train on") as caught:
        used(place)
    assert message in str(caught.value) and "`train: true` for mine" in caught.value.remedy
    result = place.run("train_candidates")
    trained = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert not result.success and "model_minilm__checkpoint" not in trained


def test_a_label_or_split_that_is_missing_stops_the_run(place):
    place.write([row for row in rows(40) if (row["split"], row["label"]) != ("val", "neutral")])
    build_splits(place.layout, fetch_datasets(place.layout))
    with pytest.raises(DataError, match="split 'val' of the datasets for training has no neutral rows"):
        require_training_rows(place.layout)


def test_splits_without_any_dataset_raise_with_every_reason(place, monkeypatch):
    place.catalog(other=OTHER)
    cut_gzip(write_dataset(place.root / "texts", rows(40), "other"))
    for path in (place.root / "texts" / "mine").iterdir():
        path.unlink()
    fetch_datasets(place.layout)
    with pytest.raises(SourceUnavailable, match="There is no labeled text") as caught:
        build_splits(place.layout, raw_texts(place.layout))
    assert "other: " in str(caught.value.found) and "truncated" in str(caught.value.found)


def test_feedback_reaches_training_and_no_other_split(place):
    place.catalog(feedback=FEEDBACK)
    contrary = next(row for row in rows(100) if row["split"] == "test")
    correct(place, (contrary["text"], "neutral", "ann"), ("a flight of its own", "negative", "ann"))
    used(place)
    assert set(read_texts(place.layout, "train", datasets=["feedback"])["text"]) == {"a flight of its own"}
    assert contrary["text"] in set(read_texts(place.layout, "test")["text"])


def test_run_uses_the_feedback_that_it_fetched_and_no_later_one(place):
    place.catalog(feedback=FEEDBACK)
    correct(place, ("a flight of its own", "negative", "ann"))
    fetch_datasets(place.layout)
    correct(place, ("some other meal", "positive", "ben"))
    splits = build_splits(place.layout, raw_texts(place.layout))
    assert splits.rows["feedback/train"] == 1 and splits.notices == []
    write_json(place.layout.gate / TRAINED_FILE, labeled(place.layout))
    assert read_state(place.layout, enough=1).new_rows == 1, "later feedback counts as new"


def test_a_copy_from_elsewhere_is_not_used(place, monkeypatch):
    """The folder was left for the hub: rows of the folder are not taken for the hub's."""
    place.catalog(other=OTHER | {"hub": {"id": "who/texts", "revision": "a" * 40}})
    write_dataset(place.root / "texts", rows(40), "other")
    assert [one.name for one in fetch_datasets(place.layout).datasets] == ["mine", "other"]
    (place.root / "texts" / "other" / "data.csv").unlink()
    assert [one.name for one in raw_texts(place.layout).datasets] == ["mine"]
    monkeypatch.setenv("GROUNDSWELL_DATA__ORIGIN", "hub")
    assert raw_texts(place.layout).left_out == {"other": "other has not been fetched."}

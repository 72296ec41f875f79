"""Numbers as labels with a null among them, keys that YAML reads as numbers or booleans, and labels in any case; ids as floats.

pandas-dev/pandas#58306 (25); typst/typst#1945, spring-projects/spring-boot#9186 (40); kitzeslab/opensoundscape#1,
demisto/content#9341, biocore/songbird#102 (42); DocNow/twarc-csv#51 (34).
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from data.catalog import load_catalog
from data.errors import MalformedData, SettingsError
from data.labels import label_key, own_label
from data.settings import read_yaml
from data.tweets import Tweet, read
from serving.service.schemas import FeedbackRequest
from tests.cases.tables import dataset, lines_of, scored

COUNTS = {"negative": 60, "neutral": 60, "positive": 60}
NUMBERS = {"positive": 4, "negative": 0, "neutral": 2}


def labeled(names: dict, *, null_at: int | None = None) -> list[dict]:
    rows = [json.loads(line) for line in lines_of(180, '{{"id": {n}, "text": "{text}", "label": "{label}"}}\n').splitlines()]
    return [{**row, "label": None if n == null_at else names[row["label"]]} for n, row in enumerate(rows)]


def written(name: str, rows: list[dict]) -> bytes:
    if name.endswith("parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(pa.Table.from_pylist(rows).to_pandas()), sink)  # a null makes floats of integers
        return sink.getvalue().to_pybytes()
    if name.endswith("csv"):
        label = ["" if row["label"] is None else row["label"] for row in rows]
        return ("text,label\n" + "".join(f'"{row["text"]}",{one}\n' for row, one in zip(rows, label, strict=True))).encode()
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv"])
@pytest.mark.parametrize("names", [NUMBERS, {label: float(number) for label, number in NUMBERS.items()}])
@pytest.mark.parametrize("null_at", [None, 7])
def test_numbers_are_labels_with_and_without_a_null(name, names, null_at, tmp_path):
    mapping = yaml.safe_load("{0: negative, 2: neutral, 4: positive}")
    found, frame = dataset(tmp_path, name, written(name, labeled(names, null_at=null_at)), label_mapping=mapping)
    if null_at is None:
        assert frame["label"].value_counts().to_dict() == COUNTS and len(found.notes) == 1
    else:
        assert frame["label"].value_counts().to_dict() == {**COUNTS, "negative": 59}
        assert found.notes[1:] == ("1 rows without a label are rejected",)


@pytest.mark.parametrize("null", ["NaN", "nan", "null", "NULL", "<NA>", "\\N", " "])
def test_a_null_that_a_text_file_spells_out_is_a_missing_label(null, tmp_path):
    mapping = yaml.safe_load("{0: negative, 2: neutral, 4: positive}")
    rows = labeled(NUMBERS)
    rows[7]["label"] = null
    found, frame = dataset(tmp_path, "a.csv", written("a.csv", rows), label_mapping=mapping)
    assert len(frame) == 179 and found.notes[1:] == ("1 rows without a label are rejected",)
    rows[8]["text"] = "null"  # a text stays what was written
    assert "null" in dataset(tmp_path, "b.csv", written("b.csv", rows), label_mapping=mapping)[1]["text"].tolist()


@pytest.mark.parametrize("words", [("no", "yes"), ("No", "YES"), ("false", "true"), (False, True), ("off", "on")])
def test_keys_that_yaml_reads_as_booleans_are_labels(words, tmp_path):
    mapping = yaml.safe_load('{no: negative, yes: Positive, maybe: " NEUTRAL"}')
    names = {"negative": words[0], "positive": words[1], "neutral": "maybe"}
    _, frame = dataset(tmp_path, "a.jsonl", written("a.jsonl", labeled(names)), label_mapping=mapping)
    assert frame["label"].value_counts().to_dict() == COUNTS


def test_two_keys_for_one_label_are_refused():
    with pytest.raises(SettingsError, match="label_mapping") as caught:
        load_catalog({"own": {"domain": "tweets", "license": "x", "label_mapping": {4: "positive", "4.0": "neutral"}}})
    assert "the same label" in str(caught.value.expected)


def test_unknown_key_of_a_dataset_is_named_with_the_nearest_one():
    with pytest.raises(SettingsError, match="invalid at licens") as caught:
        load_catalog({"own": {"domain": "tweets", "licens": "x", "label_mapping": {0: "negative"}}})
    assert caught.value.found == "an unknown key, with the value 'x'" and caught.value.remedy == "Did you mean 'license'?"


@pytest.mark.parametrize("names", [{"positive": "Positive ", "negative": "NEGATIVE", "neutral": " Neutral"}])
def test_case_and_spaces_of_labels_do_not_count(names, tmp_path):
    content = written("a.jsonl", labeled(names))
    assert dataset(tmp_path, "a.jsonl", content)[1]["label"].value_counts().to_dict() == COUNTS
    _, result = scored(tmp_path / "b.jsonl", content)
    assert result.confusion is not None and result.confusion.sum() == 180 and result.skipped == {}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (4, "4"),
        (4.0, "4"),
        ("4.0", "4"),
        (" 4 ", "4"),
        ("+1", "1"),
        (-1.0, "-1"),
        (True, "true"),
        ("Very  Bad ", "very bad"),
        (0.5, "0.5"),
        ("\u22121", "-1"),
        ("４", "4"),
    ],
)
def test_equal_labels_have_one_key(value, key):
    assert label_key(value) == key
    assert own_label(value) is None and own_label("POSITIVE ") == "positive"
    assert label_key(None) is label_key(float("nan")) is label_key("  ") is None


WRITTEN = ["Positive ", "NEGATIVE", "\tneutral\u00a0", "posi tive", "4.0", "", None, True, 4, 4.0, ["positive"], {"a": 1}]


@pytest.mark.parametrize("label", WRITTEN)
def test_labels_of_raw_records_and_of_feedback_follow_the_rule_of_datasets(label):
    (found,) = read({"id": "1", "text": "Great crew", "label": label})
    assert isinstance(found, Tweet) and found.label == own_label(label)
    if own_label(label):
        assert FeedbackRequest.model_validate({"text": "x", "by": "desk 4", "label": label}).label == own_label(label)
    else:
        with pytest.raises(ValidationError, match="'negative', 'neutral' or 'positive'"):
            FeedbackRequest.model_validate({"text": "x", "by": "desk 4", "label": label})


@pytest.mark.parametrize("identity", [1.23456789012344992e17, "1.23E+17", "1234567890123456789.0"])
def test_ids_that_went_through_a_float_are_refused(identity, tmp_path):
    rows = [{**row, "id": identity if row["id"] else "1"} for row in labeled({label: label for label in NUMBERS})]
    columns = {"id": "id", "text": "text", "label": "label"}
    with pytest.raises(MalformedData, match="lost digits"):
        dataset(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)), columns=columns)


def test_ids_that_are_integers_of_any_size_keep_their_digits(tmp_path):
    rows = [{**row, "id": 1234567890123456789 + row["id"]} for row in labeled({label: label for label in NUMBERS})]
    columns = {"id": "id", "text": "text", "label": "label"}
    _, frame = dataset(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)), columns=columns)
    assert frame["id"].tolist() == [str(row["id"]) for row in rows]


@pytest.mark.parametrize("mapping", ["{0: negative, no: neutral}", "{yes: positive, true: neutral}", "{a: positive, a: neutral}"])
def test_keys_that_yaml_takes_for_one_are_refused(mapping, tmp_path):
    (tmp_path / "datasets.yaml").write_text(f"own:\n  label_mapping: {mapping}\n")
    with pytest.raises(SettingsError, match="are the same"):
        read_yaml(tmp_path / "datasets.yaml")

import csv
import gzip
import json
from dataclasses import replace

import pandas as pd
import pytest

from data.errors import BundleError, DataError, MalformedData, SourceUnavailable
from data.tables import CHUNK_ROWS
from serving.classifier import Classifier
from serving.score import _require_sarcasm, score_file
from serving.tiers import Calibration
from tests.make import rows
from tests.models import headed_bundle, tiered_bundle, tiny_bundle


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return Classifier(tiny_bundle(tmp_path_factory.mktemp("b") / "bundle"), threads=1)


def write(path, frame):
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    else:
        frame.to_csv(path, index=False)
    return path


def score(path, classifier, **kwargs):
    return score_file(path, classifier, **({"text_column": "text", "label_column": "label"} | kwargs))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_all_file_formats_give_the_same_counts(name, tmp_path, classifier):
    result = score(write(tmp_path / name, pd.DataFrame(rows())), classifier)
    assert result.rows == 90 and result.skipped == {}
    assert result.confusion is not None and result.confusion.tolist() == [[30, 0, 0], [0, 30, 0], [0, 0, 30]]
    assert result.predicted == {"negative": 30, "neutral": 30, "positive": 30}


def bad_rows():
    good = rows(3)
    good[1]["text"] = "  "
    good[2]["text"] = "word " * 1_000_000
    good[3]["label"] = "grumpy"
    return good


@pytest.mark.parametrize("out", ["o.csv", "o.jsonl", "o.parquet"])
def test_output_has_one_line_per_row_with_the_reason_of_skipped_ones(out, tmp_path, classifier):
    result = score(write(tmp_path / "a.jsonl", pd.DataFrame(bad_rows())), classifier, out=tmp_path / out)
    assert result.skipped == {"blank text": 1, "text over 100,000 characters": 1, "unknown label": 1}
    if out.endswith("csv"):
        with (tmp_path / out).open() as file:
            lines = list(csv.DictReader(file))
    elif out.endswith("jsonl"):
        lines = [json.loads(line) for line in (tmp_path / out).read_text().splitlines()]
    else:
        lines = pd.read_parquet(tmp_path / out).to_dict("records")
    assert [int(line["row"]) for line in lines] == list(range(9))
    assert [bool(line["skipped"]) for line in lines] == [False, True, True, True, False, False, False, False, False]
    assert lines[0]["label"] == "negative" and not lines[1]["label"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", out]


@pytest.mark.parametrize(("sarcastic", "other"), [("sarcastic", "not_sarcastic"), ("Irony", "non_irony"), (1, 0), (True, False)])
def test_labels_of_sarcasm_score_the_output_for_it(sarcastic, other, tmp_path):
    classifier = Classifier(headed_bundle(tmp_path / "bundle"), threads=1)  # blame is sarcastic
    texts = [{"text": row["text"], "label": sarcastic if row["label"] == "negative" else other} for row in rows(10)]
    texts[0]["label"] = other  # a mistake
    for name in ("a.csv", "a.jsonl"):
        result = score(write(tmp_path / name, pd.DataFrame(texts)), classifier, out=tmp_path / "out.jsonl")
        assert result.confusion is None and result.sarcasm.tolist() == [[20, 1], [0, 9]]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["sarcasm"] > 0.5 for line in lines] == [row["label"] == "negative" for row in rows(10)]


def test_labels_of_sarcasm_need_a_model_that_finds_it(tmp_path, classifier):
    path = write(tmp_path / "a.csv", pd.DataFrame([{"text": "great", "label": "sarcastic"}]))
    with pytest.raises(BundleError, match="does not predict"):
        score(path, classifier, out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_where_texts_escalate_base_has_to_predict_sarcasm_too(tmp_path):
    bundle = tiered_bundle(tmp_path / "bundle")
    small = bundle.manifest.tiers["small"].model_copy(update={"sarcasm": Calibration()})
    able = replace(bundle, manifest=bundle.manifest.model_copy(update={"tiers": {"small": small}}))
    classifier = Classifier(able, threads=1)
    _require_sarcasm(classifier, "small")
    with pytest.raises(BundleError, match="tier base"):
        _require_sarcasm(classifier, "small@0.6")


def test_a_label_of_sarcasm_among_those_of_sentiment_is_unknown(tmp_path, classifier):
    path = write(tmp_path / "a.csv", pd.DataFrame([*rows(2), {"text": "great", "label": "sarcastic"}]))
    result = score(path, classifier)
    assert result.skipped == {"unknown label": 1} and result.sarcasm is None


def test_without_labels_it_only_predicts(tmp_path, classifier):
    result = score(write(tmp_path / "a.csv", pd.DataFrame(rows())), classifier, label_column=None)
    assert result.confusion is None and sum(result.predicted.values()) == 90


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"txt,label\nx,neutral\n", "Did you mean 'txt'"),
        ("a.csv", b"text,label\n\xc3\xa9,neutral\ncaf\xe9,neutral\n", "byte 0xe9 in line 3"),
        ("a.csv.gz", gzip.compress(b"text,label\n" + b"a great film,positive\n" * 9000)[:-30], "truncated"),
        ("a.jsonl", b'{"text": "a", "label": "neutral"}\n{"text": \n', "line 2"),
        ("a.csv", b'text,label\n"x, w",neutral\n"y,neutral\nz,neutral\n', "quote that is not closed.*, after line 2"),
        ("a.jsonl", b"[1]\n", "is not an object"),
        ("a.csv", b"text,label\n,neutral\n", "No row of"),
        ("a.parquet", b"PAR1 and nothing else", "cannot be read"),
        ("a.xlsx", b"", "truncated or corrupt"),
        ("a.xls", b"", r"expected: \.csv"),
        ("a.csv", b"text,label\nx,neutral\n,neutral,\ny,neutral,y\nz,z,neutral\n", "3 of 4 rows do not fit"),
        ("a.csv", b"text,label\npositive,great film\nnegative,bad film\n", "holds no texts"),
    ],
)
def test_invalid_file_is_refused_without_output(name, content, message, tmp_path, classifier):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MalformedData, match=message):
        score(tmp_path / name, classifier, out=tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_missing_file_and_unwritable_output_are_refused(tmp_path, classifier):
    with pytest.raises(SourceUnavailable, match="not found"):
        score(tmp_path / "none.csv", classifier)
    path = write(tmp_path / "a.csv", pd.DataFrame(rows(2)))
    with pytest.raises(DataError, match=r"expected: \.csv"):
        score(path, classifier, out=tmp_path / "out.xlsx")
    with pytest.raises(DataError, match="cannot be written"):
        score(path, classifier, out=tmp_path / "a.csv" / "out.csv")


def test_file_is_read_in_chunks(tmp_path, classifier, monkeypatch):
    path = tmp_path / "large.csv"
    few = rows(20)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(few[0]))
        writer.writeheader()
        writer.writerows(few[n % 60] for n in range(5 * CHUNK_ROWS + 7))
    held = []
    whole = classifier.classify
    monkeypatch.setattr(classifier, "classify", lambda texts, tier, domains: held.append(len(texts)) or whole(texts))
    assert score(path, classifier).rows == 5 * CHUNK_ROWS + 7
    assert held == [CHUNK_ROWS] * 5 + [7]

import gzip
import shutil

import pandas as pd
import pytest

from data import catalog
from data.catalog import load_catalog
from data.errors import ChecksumMismatch, MalformedData, SettingsError, SourceUnavailable
from data.expectations import validate_raw
from data.settings import DataSettings, project_root, read_yaml
from data.sources import PAIRS, SCORED, fetch
from data.sources import fetched as read_fetched
from data.sources.origin import from_sample
from data.sources.reading import read_table
from tests.make import rows, spec, write_dataset


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "texts"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "raw"


def fetched(one, folder, out):
    found = fetch(one, DataSettings.load(dir=folder), out)
    return found, pd.read_parquet(found.path)


def test_a_local_dataset_is_read_mapped_and_reused(folder, out):
    write_dataset(folder, rows(), compress=True)
    found, frame = fetched(spec(), folder, out)
    assert (found.origin, found.rows) == ("local", 90)
    assert set(frame["label"]) == {"negative", "neutral", "positive"}
    written = found.path.stat().st_mtime_ns
    again, _ = fetched(spec(), folder, out)
    assert again == found
    assert found.path.stat().st_mtime_ns == written, "an unchanged source is not read again"


def test_a_changed_file_is_refused_with_both_checksums_and_the_old_dataset_stays(folder, out):
    import hashlib

    path = write_dataset(folder, rows())
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    found, before = fetched(spec(sha256=pinned), folder, out)
    path.write_text(path.read_text() + "x,another text,neutral,train\n")
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ChecksumMismatch) as caught:
        fetched(spec(sha256=pinned), folder, out)
    assert (caught.value.found, caught.value.expected) == (changed, pinned)
    assert caught.value.remedy
    pd.testing.assert_frame_equal(pd.read_parquet(found.path), before)


def test_new_rows_in_an_unpinned_file_are_fetched(folder, out):
    write_dataset(folder, rows())
    first, _ = fetched(spec(), folder, out)
    write_dataset(folder, rows(40))
    second, frame = fetched(spec(), folder, out)
    assert first.fingerprint != second.fingerprint
    assert len(frame) == 120


def damaged(kind, folder):
    path = write_dataset(folder, rows(), compress=kind == "cut gzip")
    if kind == "cut gzip":
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "not gzip":
        path.rename(path.with_name("data.csv.gz"))
    elif kind == "not utf-8":
        path.write_bytes(path.read_bytes() + "id8,naïve,neutral,train\n".encode() + b"id9,caf\xe9,neutral,train\n")
    elif kind == "no column":
        path.write_text(path.read_text().replace("label", "mood", 1))
    elif kind == "empty":
        path.write_text("")
    elif kind == "header only":
        path.write_text("id,text,label,split\n")
    elif kind == "open quote":
        path.write_text(path.read_text() + '1,"a, b",neutral,train\n' * 9 + '2,"never closed,neutral,train\n3,a,neutral,train\n')
    elif kind == "ragged":
        path.write_text(path.read_text() + "1,2,3,4,5,6,7\n" * 6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut gzip", ["truncated", "a complete gzip file", "Copy it again"]),
        ("not gzip", ["truncated or corrupt"]),
        ("not utf-8", ["not UTF-8", "byte 0xe9", "line 93", "Correct these lines"]),
        ("no column", ["no column 'label'", "id, text, mood, split"]),
        ("empty", ["has no rows"]),
        ("header only", ["has no rows"]),
        ("ragged", ["6 of 96 rows are rejected", "line 92: 7 fields, expected 4", "at most 5%"]),
        ("open quote", ["is not CSV", "not closed in lines 101 to 102, after line 100"]),
    ],
)
def test_a_corrupt_file_is_refused_by_name_and_leaves_nothing(kind, message, folder, out):
    damaged(kind, folder)
    with pytest.raises(MalformedData) as caught:
        fetched(spec(), folder, out)
    for words in message:
        assert words in str(caught.value)
    assert not list(out.glob("*")) and not list(out.glob(".*")), "no incomplete file"


def test_the_raw_suite_reports_the_rows_of_an_unmapped_label(folder, out):
    path = write_dataset(folder, rows())
    path.write_text(path.read_text() + "x1,a text,grumpy,train\nx2,other text,grumpy,train\n")
    _, frame = fetched(spec(), folder, out)
    failure = next(outcome for outcome in validate_raw(frame, spec()).failures if "set" in outcome.expectation)
    assert (failure.column, failure.unexpected_count, failure.sample) == ("label", 2, ["x1: grumpy", "x2: grumpy"])


def test_own_file_with_own_columns_is_read(tmp_path, out):
    frame = pd.DataFrame([{"body": f"ticket {n} is here", "mood": ["angry", "ok", "happy"][n % 3]} for n in range(30)])
    for path, write in (
        (tmp_path / "own.csv", frame.to_csv),
        (tmp_path / "own.jsonl", lambda p, index: frame.to_json(p, orient="records", lines=True)),
        (tmp_path / "own.parquet", frame.to_parquet),
    ):
        write(path, index=False)
        one = spec(
            path.suffix[1:],
            local=None,
            file={"path": str(path), "columns": {"text": "body", "label": "mood"}},
            label_mapping={"angry": "negative", "ok": "neutral", "happy": "positive"},
        )
        found, read = fetched(one, None, out)
        assert found.origin == "file"
        assert read["label"].value_counts().to_dict() == {"negative": 10, "neutral": 10, "positive": 10}
        assert read["id"].is_unique
    ids = set(read["id"])
    frame.iloc[::-1].to_parquet(path, index=False)
    assert set(fetched(one, None, out)[1]["id"]) == ids, "rows keep their ids when they move"


def test_few_ragged_rows_are_rejected_by_their_line(folder, out):
    path = write_dataset(folder, rows())
    path.write_text(path.read_text() + "x9,Not bad, in fact,neutral,train\nx10,short\n")
    found, frame = fetched(spec(), folder, out)
    assert (found.rows, len(frame)) == (90, 90)
    assert found.notes == ("2 rows are rejected: line 92: 5 fields, expected 4; line 93: 2 fields, expected 4",)


def test_a_lone_surrogate_is_dropped(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud800 b", "n": 1}\n')
    assert read_table(tmp_path / "a.jsonl", ["text"]).frame.to_dict("records") == [{"text": "a  b", "n": 1}]


def test_the_sample_has_every_class_in_every_split_of_every_domain(out):
    catalog = load_catalog()
    found = [fetch(catalog[name], DataSettings.load(), out) for name in from_sample(catalog, "").sets]
    assert {raw.origin for raw in found} == {"sample"}
    frame = pd.concat([pd.read_parquet(raw.path) for raw in found])
    assert len(frame) == 240
    counts = frame.groupby(["domain", "split", "label"]).size()
    assert len(counts) == 5 * 3 * 3


def test_fetched_returns_a_dataset_only_while_its_source_is_unchanged(folder, out):
    path = write_dataset(folder, rows())
    settings = DataSettings.load(dir=folder)
    assert read_fetched(spec(), settings, out) is None
    found = fetch(spec(), settings, out)
    assert read_fetched(spec(), settings, out) == found
    path.write_text(path.read_text() + "x,another text,neutral,train\n")
    assert read_fetched(spec(), settings, out) is None
    with pytest.raises(SourceUnavailable, match="mine is not in"):
        read_fetched(spec(), DataSettings.load(dir=out), out)


def test_an_unpinned_revision_on_the_hub_is_refused(out):
    one = spec(hub={"id": "who/what"})
    with pytest.raises(SourceUnavailable, match="not pinned"):
        fetch(one, DataSettings.load(origin="hub"), out)


def test_texts_with_a_plain_rephrasing_are_held_out_by_a_hash_of_their_id(folder, out, tmp_path):
    marks = {"sarcastic": True, "not_sarcastic": False}
    one = spec(
        label_mapping=dict.fromkeys(marks), sarcasm_mapping=marks, rephrased={"column": "meant", "held_out": 4}, train=False
    )
    written = [
        {
            "id": f"s-{n}",
            "text": f"so lovely {n}",
            "label": "sarcastic",
            "split": "train",
            "meant": "" if n > 9 else f"it is bad {n}",
        }
        for n in range(12)
    ]
    repeats = [row | {"id": f"again-{row['id']}", "meant": ""} for row in written[:10]]
    held = []
    for at, order in (("a", written + repeats), ("b", (written + repeats)[::-1])):
        write_dataset(folder / at, order)
        found, frame = fetched(one, folder / at, out / at)
        pairs = pd.read_parquet(found.path.parent / PAIRS)
        assert set(frame["id"]).isdisjoint(pairs["id"]) and set(frame["text"]).isdisjoint(pairs["text"])
        assert (len(frame), len(pairs)) == (14, 4) and found.notes == ("4 texts with a plain rephrasing are held out",)
        assert [text.split()[-1] for text in pairs["text"]] == [text.split()[-1] for text in pairs["plain"]]
        held.append(list(pairs["id"]))
    assert held[0] == held[1], "whatever the order of the file"
    found, frame = fetched(one.model_copy(update={"rephrased": None}), folder / "a", out / "a")
    assert len(frame) == 22 and pd.read_parquet(found.path.parent / PAIRS).empty


def test_the_catalog_reports_an_invalid_entry():
    with pytest.raises(SettingsError, match="Did you mean 'license'"):
        load_catalog({"mine": {"domain": "tweets", "lisense": "x"}})
    with pytest.raises(SettingsError, match="leads to"):
        load_catalog({"mine": {"domain": "tweets", "license": "x", "label_mapping": {"a": "angry"}}})


def test_a_recipe_decides_which_published_datasets_are_learned_from(monkeypatch):
    def learned():
        return {name for name, one in load_catalog().items() if one.train and not one.sample}

    assert learned() == {"tweeteval_sentiment", "feedback"}
    recipes = read_yaml(project_root() / "configs" / "recipes.yaml")
    for name, recipe in recipes.items():
        monkeypatch.setenv("GROUNDSWELL_DATA__RECIPE", name)
        assert learned() == {*recipe["train"], "feedback"}
    monkeypatch.setenv("GROUNDSWELL_DATA__RECIPE", "stream-mix")
    with pytest.raises(SettingsError, match="Unknown recipe") as caught:
        load_catalog()
    assert "stream_mix" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("train: [airlines]", "Unknown dataset 'airlines'"),
        ("train: []", "invalid at train"),
        ("sets: [airline]", "invalid at"),
        ("[airline]", "is invalid"),
    ],
)
def test_a_malformed_recipe_is_reported(recipe, message, monkeypatch, tmp_path):
    (tmp_path / "configs").mkdir()
    shutil.copy(project_root() / "configs" / "datasets.yaml", tmp_path / "configs")
    (tmp_path / "configs" / "recipes.yaml").write_text(f"mine: {{{recipe}}}" if ":" in recipe else f"mine: {recipe}")
    monkeypatch.setattr(catalog, "project_root", lambda: tmp_path)
    monkeypatch.setenv("GROUNDSWELL_DATA__RECIPE", "mine")
    with pytest.raises(SettingsError, match=message):
        load_catalog()


def test_a_full_disk_leaves_nothing(folder, out, monkeypatch):
    import pyarrow.parquet as pq

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    write_dataset(folder, rows())
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(SourceUnavailable, match="Free disk space"):
        fetched(spec(), folder, out)
    assert not list(out.glob(".*")) and not list(out.glob("*"))


def test_a_text_of_5_mb_is_read_completely(folder, out):
    write_dataset(folder, [*rows(), {"id": "long", "text": "word " * 1_000_000, "label": "neutral", "split": "train"}])
    _, frame = fetched(spec(), folder, out)
    assert frame["text"].str.len().max() == 5_000_000


def test_a_gzip_of_the_same_rows_has_the_same_fingerprint(folder, out, tmp_path):
    path = write_dataset(folder, rows())
    plain, _ = fetched(spec(), folder, out)
    path.with_name("data.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    packed, _ = fetched(spec(), folder, tmp_path / "again")
    assert plain.fingerprint == packed.fingerprint


def test_texts_about_a_company_have_it_marked_and_made_sentences_for_training(folder, out):
    one = spec(about={"column": "who", "score": "how"}, train=False)
    written = [
        {"id": f"f-{n}", "text": f"Acme {n} up, Bolt {n} down", "label": label, "split": split, "who": who, "how": how}
        for n, split in enumerate(("train", "val", "test"))
        for who, label, how in (("Acme", "positive", "0.5"), ("Bolt", "negative", "-0.25"), ("Core", "neutral", "unknown"))
    ]
    write_dataset(folder, [row | {"id": f"{row['id']}-{row['who']}"} for row in written])
    found, frame = fetched(one, folder, out)
    texts = dict(zip(frame["id"], frame["text"], strict=True))
    assert [texts[f"f-2-{who}"] for who in ("Acme", "Bolt", "Core")] == [
        "target 2 up, Bolt 2 down",
        "Acme 2 up, target 2 down",
        "target: Acme 2 up, Bolt 2 down",
    ]
    made = frame[frame["id"].str.contains("-made-")]
    assert set(made["split"]) == {"train"} and set(made["label"]) == {"negative", "neutral", "positive"}
    assert len(frame) == 9 + len(made) and found.notes == (
        f"{len(made)} made sentences about two companies are added to the split train",
    )
    scored = pd.read_parquet(found.path.parent / SCORED)
    assert list(scored.columns) == ["id", "split", "text", "marked", "score"]
    assert len(scored) == 6, "those with a score that is a number"
    assert scored.set_index("id").loc["f-1-Bolt"].tolist() == ["val", "Acme 1 up, Bolt 1 down", "Acme 1 up, target 1 down", -0.25]

"""The stream's predictions compared with Gold's."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from data.labels import LABELS
from serving.engines.engine import on_engine
from serving.lakehouse.reconcile import DIFFERENCES, EXAMPLES, KINDS, TOLERANCE, read_stream, reconcile
from serving.tiers import model_key
from serving.warehouse.connect import hold
from tests.serving.warehouse_rows import row, write

NOW = datetime.now(UTC).replace(microsecond=0)
TIME = pa.timestamp("us", "UTC")
PREDICTION = pa.struct([("label", pa.string()), ("negative", pa.float64()), ("positive", pa.float64())])
STREAM = pa.schema(
    [
        ("id", pa.string()),
        ("event_at", TIME),
        ("text_md5", pa.string()),
        ("label", pa.string()),
        ("score", pa.float64()),
        ("model_version", pa.string()),
    ]
)
GOLD_ROWS = pa.schema([*STREAM, ("answers", pa.map_(pa.string(), PREDICTION))])


def listed(number, label="neutral", score=0.0, version="v1", text="a", others=()):
    by_version = {version: {"label": label, "negative": 0.0, "positive": score}} if version else {}
    return {
        "id": f"m{number}",
        "event_at": NOW,
        "text_md5": text,
        "label": label,
        "score": score,
        "model_version": version,
        "answers": list((by_version | dict(others)).items()),
    }


def compare(stream, gold):
    return reconcile(pa.Table.from_pylist(stream, STREAM), pa.Table.from_pylist(gold, GOLD_ROWS))


def test_each_id_has_one_kind():
    v2 = {"v2": {"label": "positive", "negative": 0.25, "positive": 0.75}}
    pairs = {
        "agree": (listed(0, score=0.5), listed(0, score=0.5)),
        "other version": (listed(1, score=0.5, version="v0"), listed(1, score=0.1)),
        "only in the stream": (listed(2), None),
        "only in Gold": (None, listed(3)),
        "text": (listed(4, "negative"), listed(4, text="b")),
        "label": (listed(5, "negative"), listed(5)),
        "score": (listed(6, score=0.5), listed(6, score=0.5011)),
        "label, other version": (listed(7, "negative", version="v0"), listed(7)),
    }
    assert tuple(pairs) == KINDS
    found = compare([s for s, _ in pairs.values() if s], [g for _, g in pairs.values() if g])
    assert found.counts == dict.fromkeys(KINDS, 1)
    assert {row["id"]: row["kind"] for row in found.examples} == {f"m{n}": kind for n, kind in enumerate(KINDS) if n > 1}
    assert found.differences == len(DIFFERENCES) == 6
    row = next(row for row in found.examples if row["kind"] == "score")
    assert (row["score_stream"], row["score_gold"], row["version_gold"], row["event_at"]) == (0.5, 0.5011, "v1", NOW)
    # Just within the tolerance; a stored prediction of the stream's version that readers do not see; no prediction.
    near = compare([listed(0, score=0.3)], [listed(0, score=0.3 + TOLERANCE)])
    same = compare([listed(0, "positive", 0.5, "v2")], [listed(0, "negative", -0.5, "v1", others=v2.items())])
    other = compare([listed(0, "negative", 0.5, "v2")], [listed(0, "negative", -0.5, "v1", others=v2.items())])
    none = compare([listed(0)], [listed(0, label=None, score=None, version=None)])
    kinds = [next(kind for kind, count in found.counts.items() if count) for found in (near, same, other, none)]
    assert kinds == ["agree", "agree", "label", "label, other version"]


def test_counts_equal_those_of_a_reader_in_python():
    chance = random.Random(5)

    def drawn(number):
        return listed(
            number,
            chance.choice(LABELS[:2]),
            round(chance.choice((0.1, 0.1004, 0.2)), 4),
            chance.choice(("v1", "v1", "v2")),
            chance.choice("aaab"),
        )

    stream, gold = ({n: drawn(n) for n in chance.sample(range(3000), 2400)} for _ in range(2))
    kinds = Counter()
    for n in stream.keys() | gold.keys():
        s, g = stream.get(n), gold.get(n)
        if not s or not g:
            kinds["only in the stream" if s else "only in Gold"] += 1
        elif s["text_md5"] != g["text_md5"]:
            kinds["text"] += 1
        elif s["model_version"] != g["model_version"]:
            kinds["other version" if s["label"] == g["label"] else "label, other version"] += 1
        elif s["label"] != g["label"]:
            kinds["label"] += 1
        else:
            kinds["score" if abs(s["score"] - g["score"]) > TOLERANCE else "agree"] += 1
    found = compare(list(stream.values()), list(gold.values()))
    assert found.counts == {kind: kinds[kind] for kind in KINDS} and all(found.counts.values())
    shown = Counter(row["kind"] for row in found.examples)
    assert sum(shown.values()) == EXAMPLES and set(shown) == set(DIFFERENCES) and min(shown.values()) >= EXAMPLES // 6 - 1
    assert compare([], []).counts == dict.fromkeys(KINDS, 0)


@pytest.mark.integration
def test_the_stream_is_read_with_the_tier_of_each_prediction(tmp_path):
    rows = [row("t", 0, n, tier=tier, model_version="v1") for n, tier in enumerate(("base", "small", ""))]
    with hold(tmp_path) as client:
        write(client, "t", rows)
        found = read_stream(client, NOW - timedelta(days=1), NOW + timedelta(days=1)).to_pylist()
    assert {one["id"]: one["model_version"] for one in found} == {"0-0": "v1", "0-1": model_key("v1", "small"), "0-2": "v1"}


def test_predictions_of_another_tier_are_not_compared_as_those_of_one_model():
    small = model_key("v1", "small")
    stream = [listed(n, "positive", score=0.5, version=small) for n in range(3)]
    gold = [
        listed(0, "positive", score=0.9),
        listed(1),
        listed(2, others=[(small, {"label": "positive", "negative": 0, "positive": 0.5})]),
    ]
    found = compare(stream, gold)
    assert (found.counts["other version"], found.counts["label, other version"], found.counts["agree"]) == (1, 1, 1)


def test_engine_of_the_stream_is_shown_where_its_label_differs():
    on_openvino = on_engine("v1", "openvino")
    stream = [listed(0, score=0.5, version=on_openvino), listed(1, "negative", version=on_openvino)]
    found = compare(stream, [listed(0, score=0.51), listed(1)])
    assert found.counts["other version"] == found.counts["label, other version"] == found.differences == 1
    (example,) = found.examples
    assert (example["version_stream"], example["version_gold"]) == ("v1+openvino", "v1")

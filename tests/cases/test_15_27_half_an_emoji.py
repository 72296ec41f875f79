"""Half an emoji costs that half alone.

PostHog/posthog#9368, ClickHouse/ClickHouse#52005, vertesia/llumiverse#462, bentoml/BentoML#571.
"""

import json
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import Event
from data.tweets import Tweet, parse, read
from serving.client import SentimentClient
from serving.lakehouse.messages import read_messages
from serving.service.json_reader import read_fields, read_lines
from serving.service.reading import fit
from serving.service.schemas import (
    MAX_BODY_BYTES,
    MAX_TEXTS,
    MAX_WEIGHT,
    ClassifyRequest,
    FeedbackRequest,
    TextError,
    refusal,
    weight,
)
from serving.streaming.decode import decode
from tests.cases.tables import dataset, lines_of, scored

LINES = [
    rb'{"id": "151", "text": "Lovely view \ud83d", "source": "web"}',
    rb'{"id": "151", "text": "Lovely view ", "source": "web", "user": {"name": "\udc00Al"}, "score": NaN}',
    '{"id": "151", "text": "Lovely view \ud83d", "source": "web"}'.encode("utf-8", "surrogatepass"),
    b'\xef\xbb\xbf{"id": "151", "text": "Lovely view ", "source": "web"}\r',
]


@pytest.mark.parametrize("line", LINES)
def test_lakehouse_and_stream_keep_the_message(line):
    record = parse(line)
    assert isinstance(record, dict) and read(record) == [Tweet("151", "Lovely view ", source="web")]
    ((row,),) = read_messages(pa.array([line], pa.binary())).to_pylist()
    assert (row["text"], row["reason"]) == ("Lovely view ", None)
    event = decode(line)
    assert isinstance(event, Event) and event.text == "Lovely view "


def test_datasets_keep_the_message_without_another_sign(tmp_path):
    content = lines_of(60, '{{"text": "{text} \\ud83d", "label": "{label}"}}\n')
    assert dataset(tmp_path, "a.jsonl", content)[1]["text"][0] == "Great crew on flight 0, thank you "


ENCODINGS = ["utf-8", "utf-16", "utf-16-le"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("half", ["\ud83d", "\ude21"])
def test_files_with_half_an_emoji_in_bytes_keep_every_row_and_their_encoding(encoding, half, tmp_path):
    content = lines_of(60, '{n},"{text} é😡",{label}\n', first="id,text,label\n").replace("flight 7", f"flight 7 {half}", 1)
    content = content.encode(encoding, "surrogatepass")
    found, frame = dataset(tmp_path, "a.csv", content)
    assert len(frame) == 60 and frame["text"][7] == "My bag of flight 7  is lost again é😡"
    assert f"encoding {encoding}" in found.notes[0] and frame["text"][8].endswith(" é😡")
    texts, result = scored(tmp_path / "b.csv", content)
    assert len(texts) == 60 and result.skipped == {}


@pytest.mark.parametrize("half", [rb"\ud83d", b"\xed\xa0\xbd"])
def test_api_classifies_the_other_texts(half):
    texts = read_fields(b'{"texts": ["Lovely view", "Best seat ' + half + b'", NaN, "Lost bag"]}', texts=4)["texts"]
    assert texts == ["Lovely view", "Best seat ", None, "Lost bag"]
    assert read_lines(b'"Lovely view"\n{"text": "Best seat ' + half + b'"}', 5) == ["Lovely view", "Best seat "]
    fields = read_fields(b'{"text": "Best seat ' + half + b'", "label": "positive", "by": "a"}')
    assert fit(FeedbackRequest, fields).text == "Best seat "


def service(request: httpx.Request) -> httpx.Response:
    """Respond as the service does, within its limits."""
    assert len(request.content) <= MAX_BODY_BYTES
    wanted = fit(ClassifyRequest, read_fields(request.content, texts=MAX_TEXTS))
    assert sum(map(weight, wanted.texts)) <= MAX_WEIGHT
    entry = {"label": "neutral", "confidence": 0.5}
    entries = [{"error": reason} if (reason := refusal(text)) else entry for text in wanted.texts]
    return httpx.Response(200, json={"model_version": "m", "predictions": entries})


def client() -> SentimentClient:
    made = SentimentClient("http://service")
    made._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(service))
    return made


ANY: Any = st.text(st.characters()) | st.none() | st.floats() | st.binary() | st.lists(st.integers()) | st.just("\ud83d \0 x")


@given(st.lists(ANY, max_size=20))
def test_client_returns_one_entry_for_whatever_it_is_given(texts):
    entries = client().classify(texts)
    assert [isinstance(entry, TextError) for entry in entries] == [refusal(text) is not None for text in texts]


def test_client_splits_long_texts_and_reports_those_that_are_too_long_itself():
    entries = client().classify(["é" * 100_000] * 9 + ["x" * 100_001, " ", "\ud83d", "fine"] + ["short"] * 600)
    assert len(entries) == 613
    assert [number for number, entry in enumerate(entries) if isinstance(entry, TextError)] == [9, 10, 11]
    assert client().classify([]) == [] and isinstance(client().classify([" "])[0], TextError)


def test_rejected_text_of_a_dump_is_still_a_string():
    assert json.dumps(json.loads(LINES[0])["text"]) == '"Lovely view \\ud83d"', "the reader, not the parser, drops the half"

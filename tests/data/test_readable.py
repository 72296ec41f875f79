"""Every path classifies the same texts, since all of them call the same function."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from data.cleaning import clean
from data.contracts import Event
from data.readable import MAX_DOCUMENT_CHARS, MAX_TEXT_CHARS, Unreadable, unreadable
from serving.lakehouse.messages import read_messages as silver
from serving.score import _unfit
from serving.service import inference
from serving.service.json_reader import read_fields
from serving.service.schemas import refusal
from serving.streaming.decode import decode

BLANK = st.sampled_from(
    [
        " ",
        "\n",
        "\t",
        "\u200b",
        "\u200c",
        "\ufeff",
        "\u2060",
        "\u202e",
        "\xa0",
        "\x01",
        "&#8203;",
        "&nbsp;",
        "&#32;",
        "\\u200b",
        "\\n",
        "&amp;nbsp;",
        "\ufffd",
    ]
)
PIECES = BLANK | st.sampled_from(["\x00", "a", "é", "😀", "&amp;", "\\u0041", "&#65;", "\u200d", "@", "."])
TEXTS = st.lists(BLANK, max_size=6).map("".join) | st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=8)
LONG = [10_000, 10_001, 100_000, 100_001]


def paths(text, most):
    """Yield whether each path with this limit accepts a text."""
    event = {"id": "1", "source": "s", "text": text}
    body = json.dumps({"texts": [text]}).encode()
    (read,) = read_fields(body, texts=1)["texts"]
    if most == MAX_TEXT_CHARS:
        try:
            Event(**event)
            yield "event", True
        except ValidationError:
            yield "event", False
        yield "stream", isinstance(decode(json.dumps(event).encode()), Event)
        yield "silver", silver(pa.array([json.dumps(event)], pa.string())).to_pylist()[0][0]["reason"] is None
    else:
        yield "api, by the request", refusal(read) is None
        yield "api, jobs and Lambda, by the text", inference.read_texts([read], False).errors == [None]
        yield "score", _unfit({"text": text}, "text", None, None) is None


@pytest.mark.parametrize("most", [MAX_TEXT_CHARS, MAX_DOCUMENT_CHARS])
@given(text=TEXTS)
def test_all_paths_accept_the_same_texts(most, text):
    expected = unreadable(text, most) is None
    assert dict(paths(text, most)) == {name: expected for name, _ in paths(text, most)}
    assert expected == (len(text) <= most and "\x00" not in text and clean(text) != "")


@pytest.mark.parametrize("most", [MAX_TEXT_CHARS, MAX_DOCUMENT_CHARS])
@pytest.mark.parametrize("length", LONG)
@pytest.mark.parametrize("character", ["a", "😀", "\u200b", "&"])
def test_all_paths_apply_the_length_limit_of_their_contract(most, length, character):
    text = character * length
    expected = length <= most and character != "\u200b"
    assert {decided for _, decided in paths(text, most)} == {expected}


@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], {}, b"bytes"])
def test_a_value_that_is_not_a_string_is_no_text(value):
    assert unreadable(value, MAX_TEXT_CHARS) is Unreadable.NO_TEXT
    assert refusal(value) == "is not a string"


@given(TEXTS)
def test_a_known_cleaned_form_changes_no_decision(text):
    assert unreadable(text, MAX_TEXT_CHARS, cleaned=clean(text)) is unreadable(text, MAX_TEXT_CHARS)

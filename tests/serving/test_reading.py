"""Bodies of requests: read within limits, off the event loop, without objects for nested values."""

import asyncio
import json
import threading
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serving.service import json_reader, problems, reading
from serving.service.jobs.routes import _from_json, _from_lines
from serving.service.json_reader import NESTED, NotJSON, Unfit, read_fields, read_lines
from serving.service.panels.alerts import Acknowledgement, Mute
from serving.service.panels.routes import PanelQuery
from serving.service.problems import Refused
from serving.service.reading import fit, read_request
from serving.service.schemas import MAX_JOB_TEXTS, ClassifyRequest, FeedbackRequest, JobRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda more: st.lists(more, max_size=4) | st.dictionaries(st.text(), more, max_size=4),
)
SPACES = st.sampled_from([None, 0, 2])


def flat(value):
    return NESTED if isinstance(value, (list, dict)) else value


@given(st.dictionaries(st.text(), VALUES, max_size=6), SPACES, st.booleans())
def test_fields_equal_those_of_json_except_nested_ones(value, indent, escaped):
    body = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    assert read_fields(body) == {name: flat(each) for name, each in value.items()}


@given(st.lists(VALUES, max_size=20), SPACES)
def test_texts_are_strings_with_none_for_everything_else(values, indent):
    body = json.dumps({"detail": True, "texts": values}, indent=indent).encode()
    expected = [value if isinstance(value, str) else None for value in values]
    assert read_fields(body, texts=20) == {"detail": True, "texts": expected}


@given(st.lists(VALUES | VALUES.map(lambda value: {"n": 1, "text": value}), min_size=1, max_size=20))
def test_lines_are_strings_or_objects_with_a_text(values):
    body = "\r\n\n".join(json.dumps(value) for value in values).encode()
    texts = [value.get("text") if isinstance(value, dict) else value for value in values]
    if not any(isinstance(text, str) and text for text in texts) and any(
        isinstance(value, dict) and value and "text" not in value for value in values
    ):
        with pytest.raises(Unfit, match="no line has this field; found `"):
            read_lines(body, 40)
        return
    assert read_lines(body, 40) == [text if isinstance(text, str) else None for text in texts]


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\ue0 texs1-.', max_size=40).map(str.encode))
def test_any_bytes_give_fields_or_an_error(body):
    for read in (lambda: read_fields(body, texts=3), lambda: read_lines(body, 3)):
        try:
            found = read()
        except (NotJSON, Unfit) as error:
            assert str(error)
        else:
            assert isinstance(found, (dict, list))


MODELS = (ClassifyRequest, JobRequest, FeedbackRequest, Acknowledgement, Mute, PanelQuery)
NAMES = sorted({name for model in MODELS for name in model.model_fields})


@given(st.sampled_from(MODELS), st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES.map(flat), max_size=4))
def test_invalid_fields_are_refused_with_what_was_found_what_was_expected_and_what_to_do(model, fields):
    try:
        fit(model, fields)
    except Unfit as error:
        name, _, rest = str(error).partition(": ")
        assert name and "found " in rest and ", expected " in rest and rest.count(". ") >= 1 and len(str(error)) < 500


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (Mute, {"by": "a"}, "minutes: found nothing, expected a value. Add it; "),
        (Mute, {"minutes": -1}, "minutes: found -1, expected a number greater than or equal to 0. Correct it; "),
        (Mute, {"minutes": NESTED}, "minutes: found a list or an object, expected a valid integer. Correct it; "),
        (Mute, {"minutes": 1, "b" * 500: 1}, f"{'b' * 60}: found a name that the route does not know, expected "),
        (Acknowledgement, {"by": "a" * 500}, f"by: found '{'a' * 59}…, expected one with at most 200 characters. Correct it; "),
        (JobRequest, {"texts": []}, "texts: found a list of 0 items, expected one with at least 1 item. Correct it; "),
        (JobRequest, {"texts": ["a"], "detail": "maybe"}, "detail: found 'maybe', expected a valid boolean, unable to "),
        (ClassifyRequest, {"texts": ["a"], "domain": "poems"}, "domain: found 'poems', expected 'tweets', 'reviews', "),
        (FeedbackRequest, {"label": "neutral", "by": "a"}, "body: found neither `text` nor `id`, expected one of them. "),
        (FeedbackRequest, {"label": "neutral", "by": "a", "text": " "}, "body: found a text that is blank, expected one "),
    ],
)
def test_message_names_the_field_the_value_and_the_remedy(model, fields, message):
    with pytest.raises(Unfit) as error:
        fit(model, fields)
    assert str(error.value).startswith(message)


def test_lone_surrogate_is_dropped_and_a_pair_is_one_character():
    assert read_fields(rb'{"texts": ["a\ud83d", "\ud83d\ude00", "\\ud83d"]}', texts=3)["texts"] == ["a", "😀", "\\ud83d"]
    in_bytes = '{"texts": ["a\ud83d", "b"]}'.encode("utf-8", "surrogatepass")
    assert read_fields(in_bytes, texts=2)["texts"] == ["a", "b"] == read_lines(b'"a"\n"b"', 2)


def test_what_no_json_allows_costs_its_own_text_alone():
    assert read_fields(b'\xef\xbb\xbf{"texts": ["a", NaN, -Infinity, "b"]}', texts=4)["texts"] == ["a", None, None, "b"]
    assert read_lines(b'\xef\xbb\xbf"a"\n{"text": NaN}\n{"text": "b", "score": NaN}', 3) == ["a", None, "b"]
    with pytest.raises(NotJSON, match="byte 13 is not UTF-8"):
        read_fields(b'{"texts": ["a\xe9"]}', texts=1)


SIZE = 2**17
NESTED_BODIES = {
    "objects": b'{"texts":["ok",[' + b"{}," * (SIZE // 3 - 20) + b"{}]]}",
    "lists": b'{"texts":["ok",[' + b"[]," * (SIZE // 3 - 20) + b"[]]]}",
    "items": b'{"texts":[' + b"{}," * (SIZE // 3 - 20) + b"{}]}",
    "deep": b'{"texts":["ok",' + b"[" * (SIZE - 40),
    "a field": b'{"texts":["ok"],"more":[' + b"[]," * (SIZE // 3 - 20) + b"[]]}",
    "fields": b"{" + b'"a":0,' * (SIZE // 6 - 20) + b'"texts":["ok"]}',
    "numbers": b'{"texts":["ok",' + b"0," * (SIZE // 2 - 20) + b"0]}",
    "a number": b'{"texts":["ok",' + b"9" * (SIZE - 40) + b"]}",
}
LINES = {
    "scalars": b"0\n" * (SIZE // 2 - 2),
    "blank": b"\n" * (SIZE - 2),
    "deep": b"[" * (SIZE - 2),
    "deep lines": b"[[[[\n" * (MAX_JOB_TEXTS - 1),
    "a nested field": b'{"text":"ok","more":[' + b"[]," * (SIZE // 3 - 40) + b"[]]}",
}


@pytest.mark.parametrize(
    ("parse", "body"),
    [pytest.param(_from_json, body, id=f"json, {name}") for name, body in NESTED_BODIES.items()]
    + [pytest.param(_from_lines, body, id=f"lines, {name}") for name, body in LINES.items()],
)
def test_nested_values_are_refused_or_skipped_without_objects(parse, body):
    tracemalloc.start()
    try:
        with suppress(NotJSON, Unfit):
            parse(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body) + 2**20, "bytes of Python objects: the body as text, and nothing else"


def test_skipped_values_are_bounded():
    with pytest.raises(Unfit, match=r"texts\[1\]: is not a string"):
        read_fields(b'{"texts":["ok",[' + b"[]," * json_reader.MAX_STEPS + b"[]]]}", texts=2)


def test_one_nested_item_is_an_error_in_its_place():
    wanted = _from_json(b'{"texts": ["a", {"text": ["b"]}, "c"]}')
    assert wanted.texts == ["a", None, "c"]


def test_lines_are_counted_before_any_is_read(monkeypatch):
    monkeypatch.setattr(json_reader, "_decoded", lambda body: pytest.fail("it was read"))
    with pytest.raises(Unfit, match=r"10,001 lines; at most 10,000"):
        read_lines(b'"a"\n' * 10_001, 10_000)


@pytest.mark.parametrize(
    ("parse", "body"),
    [(_from_json, b'{"texts": ["", " ", null, 7]}'), (_from_lines, b'""\n{"id": 7}\n{"text": "\\u200b"}\n[]')],
)
def test_job_without_a_valid_text_is_refused_on_submission(parse, body):
    with pytest.raises(Unfit, match=r"texts\[0\]: is blank"):
        parse(body)


def request(chunks, kind="application/json"):
    """A request whose body comes in these chunks; a chunk that is an event is waited for first."""

    async def receive():
        chunk = chunks.pop(0)
        if isinstance(chunk, asyncio.Event):
            await chunk.wait()
            chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}, receive)


def kind_of(coroutine):
    with pytest.raises(Refused) as caught:
        asyncio.run(coroutine)
    return caught.value.kind


def test_large_body_is_parsed_in_a_thread_and_a_small_one_in_place():
    async def go(size):
        return await read_request(request([b"x" * size]), 10**6, lambda body: threading.get_ident())

    assert asyncio.run(go(100)) == threading.get_ident()
    assert asyncio.run(go(100_000)) != threading.get_ident()


def test_no_more_than_two_bodies_are_parsed_at_once():
    running, most, both = set(), [], threading.Barrier(2, timeout=30)

    def parse(body):
        running.add(body[:1])
        most.append(len(running))
        both.wait()
        running.discard(body[:1])

    async def go():
        bodies = [bytes([n]) * 100_000 for n in range(6)]
        await asyncio.gather(*(read_request(request([body]), 10**6, parse) for body in bodies))

    asyncio.run(go())
    assert len(most) == 6 and max(most) == 2


def test_too_large_body_is_refused_before_its_end():
    chunks = [b"x" * 600, b"x" * 600, b"x" * 600]
    assert kind_of(read_request(request(chunks), 1000, len)) is problems.TOO_LARGE
    assert len(chunks) == 1, "the rest was not read"


def test_concurrent_bodies_are_bounded_together(monkeypatch):
    monkeypatch.setattr(reading, "MAX_HELD_BYTES", 1000)

    async def go():
        last = asyncio.Event()
        first = asyncio.create_task(read_request(request([b"x" * 700, last, b"y"]), 10**6, len))
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await read_request(request([b"x" * 700]), 10**6, len)
        last.set()
        return caught.value, await first, await read_request(request([b"x" * 700]), 10**6, len)

    refused, first, again = asyncio.run(go())
    assert refused.kind is problems.OVERLOADED and refused.headers["retry-after"]
    assert (first, again, reading._held) == (701, 700, 0)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx"]
)
def test_other_content_types_are_refused(kind):
    chunks = [b"{}"]
    assert kind_of(read_request(request(chunks, kind), 1000, len)) is problems.NOT_JSON_TYPE
    assert chunks, "nothing was read"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_content_type_may_have_parameters(kind):
    assert asyncio.run(read_request(request([b"{}"], kind), 1000, len)) == 2

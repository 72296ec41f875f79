"""Asking a large model, against a stub endpoint: rate limits, failures, budget, resuming."""

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event

import pytest

from data.errors import ModelError
from data.labels import LABELS
from tests.chat_stub import KEY, Chat, complete, drop, hang, label_of, send
from tests.make import text_of
from tests.serving.running import ROOT
from training.candidates import LargeModel
from training.llm_log import open_log
from training.llm_peer import NO_LABEL, ask_peer, predictions, spent_usd
from training.llm_prompt import Prompt

TEXTS = [text_of(label, n) for n in range(4) for label in LABELS]
PRICES = {"usd_per_million_input": 10.0, "usd_per_million_output": 50.0}
PROMPT = Prompt()
COST = 100 * 10e-6 + 2 * 50e-6
"""Of one request to the stub, in USD."""


@pytest.fixture
def chat():
    with Chat() as server:
        yield server


class Run:
    """One candidate and its folder; keeps the pauses instead of waiting."""

    def __init__(self, folder, chat):
        self.folder, self.chat, self.pauses, self.shown = folder, chat, [], []

    def peer(self, **fields):
        return LargeModel(**{"base_url": self.chat.url, "model": "stub-1", "concurrency": 3, **fields})

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def ask(self, texts=TEXTS, key=KEY, prompt=PROMPT, **fields):
        """Ask, and return the predictions and the cost."""
        peer = self.peer(**fields)
        with open_log(self.folder, peer, prompt) as log:
            progress = lambda message, share: self.shown.append((message, share))  # noqa: E731
            ask_peer(peer, prompt, texts, log, key, progress=progress, sleep=self.sleep)
            return predictions(peer, log, texts), spent_usd(peer, log)

    def stored(self, **fields):
        """Return the texts of the log that are done, and the lines of its file."""
        with open_log(self.folder, self.peer(**fields), PROMPT):
            pass
        [path] = self.folder.glob("*.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()][1:]


@pytest.fixture
def run(tmp_path, chat):
    return Run(tmp_path / "log", chat)


def expected(texts=TEXTS):
    return [LABELS.index(label_of(text)) for text in texts]


def test_each_text_is_asked_once_and_its_cost_is_that_of_the_usage(run, chat):
    found, spent = run.ask([*TEXTS, TEXTS[0]], **PRICES)
    assert found.predicted.tolist() == expected([*TEXTS, TEXTS[0]]) and found.without_label == 0
    assert sorted(chat.texts) == sorted(TEXTS), "a repeated text is asked for once"
    assert spent == pytest.approx(12 * COST) and found.usd_per_million == pytest.approx(1e6 * COST)
    assert 0 < found.latency_p50_ms <= found.latency_p95_ms
    assert run.shown[-1] == ("12 of 12 texts", 1.0)
    body = chat.asked[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("stub-1", 0, 16)


def test_requests_at_the_same_time_are_at_most_those_of_the_entry(run, chat):
    together, most = 0, 0

    def count(handler, text):
        nonlocal together, most
        with chat.lock:
            together += 1
            most = max(most, together)
        while together < 3 and len(chat.asked) < len(TEXTS) - 3:
            pass
        with chat.lock:
            together -= 1
        return complete(handler, label_of(text))

    chat.behavior = count
    run.ask()
    assert 1 <= most <= 3


def test_without_prices_no_price_is_shown(run):
    found, spent = run.ask()
    assert found.usd_per_million is None and spent == 0


def test_without_usage_no_price_is_shown_and_the_budget_counts_an_upper_bound(run, chat):
    chat.behavior = lambda handler, text: complete(handler, label_of(text), usage={})
    found, spent = run.ask(TEXTS[:3], **PRICES, budget_usd=1)
    assert found.usd_per_million is None and spent > 3 * 16 * 50e-6


def test_reply_without_a_label_is_asked_for_once_more_and_then_counts_as_none(run, chat):
    def reply(handler, text):
        if TEXTS[0] in text:
            return complete(handler, "I would call this rather negative, all in all.")
        if TEXTS[1] in text:
            return complete(handler, None)  # a refusal
        if TEXTS[2] in text:
            return complete(handler, "positive" if text != TEXTS[2] else "hmm")
        if TEXTS[3] in text:
            return send(handler, 400, {"error": {"code": "content_filter", "message": text}})
        return False

    chat.behavior = reply
    found, _ = run.ask(**PRICES)
    assert found.predicted.tolist() == [NO_LABEL, NO_LABEL, 2, NO_LABEL, *expected()[4:]] and found.without_label == 3
    assert len(chat.asked) == 12 + 4 and found.usd_per_million == pytest.approx(1e6 * (16 - 2) * COST / 12)
    again, _ = run.ask(**PRICES)
    assert again.predicted.tolist() == found.predicted.tolist() and len(chat.asked) == 16, "nothing is asked again"


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_the_pause(run, chat, as_date):
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True) if as_date else "7.5"
    refused = set()

    def limit(handler, text):
        with chat.lock:
            is_first = text not in refused
            refused.add(text)
        return is_first and send(handler, 429, {"error": {}}, retry_after=value)

    chat.behavior = limit
    found, _ = run.ask()
    assert found.predicted.tolist() == expected() and len(run.pauses) == 12
    assert all(80 < pause <= 100 for pause in run.pauses) if as_date else set(run.pauses) == {7.5}


@pytest.mark.parametrize("value", ["soon", "nan", ""])
def test_unreadable_retry_after_is_ignored(run, chat, value):
    chat.behavior = lambda handler, text: len(chat.asked) == 1 and send(handler, 503, {}, retry_after=value)
    run.ask(TEXTS[:1])
    assert len(run.pauses) == 1 and 1 <= run.pauses[0] <= 2


def test_pause_of_an_hour_ends_the_run(run, chat):
    chat.behavior = lambda handler, text: send(handler, 429, {}, retry_after="3600")
    with pytest.raises(ModelError, match="did not reply for 12 texts") as caught:
        run.ask(concurrency=1)
    assert "HTTP 429" in caught.value.found and run.pauses == [] and len(chat.asked) == 1


def test_errors_of_the_server_time_outs_and_dropped_connections_are_retried_with_growing_pauses(run, chat):
    failures = [
        lambda handler: send(handler, 500, b"<html>"),
        lambda handler: send(handler, 502, {}),
        drop,
        hang,
    ]

    def fail(handler, text):
        with chat.lock:
            failure = failures.pop(0) if failures else None
        return failure is not None and failure(handler)

    chat.behavior = fail
    found, spent = run.ask(TEXTS[:1], timeout_s=0.5, retries=4, **PRICES)
    assert found.predicted.tolist() == expected(TEXTS[:1])
    assert all(low <= pause <= low + 1 for low, pause in zip((1, 2, 4, 8), run.pauses, strict=True))
    assert found.usd_per_million == pytest.approx(1e6 * COST), "lost requests are no part of the price"
    assert spent > 3 * COST, "but of the budget, with their upper bound"


def test_endpoint_that_is_down_ends_the_run_and_the_next_run_asks_for_the_rest(run, chat):
    chat.behavior = lambda handler, text: len(chat.asked) > 4 and send(handler, 503, {})
    with pytest.raises(ModelError) as caught:
        run.ask(concurrency=1, retries=2)
    assert "stub-1 did not reply for 8 texts" in caught.value.message
    assert caught.value.found == "predictions of 4 of 12 texts, which are kept; last reason: HTTP 503"
    assert len(chat.asked) == 4 + 5 * 3, "five texts in a row, three requests each"
    chat.behavior = lambda handler, text: False
    chat.asked.clear()
    assert run.ask()[0].predicted.tolist() == expected() and len(chat.asked) == 8


def test_one_text_without_a_reply_does_not_stop_the_others(run, chat):
    chat.behavior = lambda handler, text: text == TEXTS[0] and send(handler, 500, {})
    with pytest.raises(ModelError, match="did not reply for 1 texts"):
        run.ask(retries=1)
    assert len({line["text"] for line in run.stored() if line["label"]}) == 11


def test_no_server_at_all_is_an_error_that_names_the_reason(run):
    with pytest.raises(ModelError) as caught:
        run.ask(base_url="http://127.0.0.1:1/v1", retries=0)
    assert "the connection was refused" in caught.value.found


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, {"error": {"code": "no_access"}}, "The API key is refused"),
        (404, {"error": {"code": "model_not_found"}}, "The model stub-1 is not found"),
        (400, {"error": {"code": "unsupported_parameter", "param": "max_tokens", "message": TEXTS[0]}}, "The request is refused"),
        (422, b"prose", "The request is refused"),
        (302, b"", "no OpenAI-compatible chat endpoint"),
        (200, b"Good morning! The sentiment is positive.", "no OpenAI-compatible chat endpoint"),
        (200, b"<html>", "no OpenAI-compatible chat endpoint"),
        (200, b"[]", "no OpenAI-compatible chat endpoint"),
        (200, b'{"choices": []}', "no OpenAI-compatible chat endpoint"),
        (200, b" " * (1 << 21), "no OpenAI-compatible chat endpoint"),
    ],
)
def test_what_no_request_can_change_stops_at_once_without_the_text_in_the_error(run, chat, status, body, message):
    chat.behavior = lambda handler, text: send(handler, status, body)
    with pytest.raises(ModelError, match=message) as caught:
        run.ask(concurrency=1)
    assert len(chat.asked) == 1 and run.pauses == []
    assert TEXTS[0] not in str(caught.value) and KEY not in str(caught.value) and caught.value.remedy


def test_wrong_key_stops_at_once_and_is_not_in_the_error(run, chat):
    with pytest.raises(ModelError, match="The API key is refused") as caught:
        run.ask(key="another-key", concurrency=1)
    assert len(chat.asked) == 1 and "another-key" not in str(caught.value)
    assert caught.value.found == "HTTP 401 (invalid_api_key)" and "GROUNDSWELL_LLM__API_KEY" in caught.value.remedy


def test_budget_is_never_exceeded_and_a_larger_one_continues(run, chat):
    budget = 8 * COST  # the bound of one request is that of about five
    with pytest.raises(ModelError, match="The budget of stub-1 is reached") as caught:
        run.ask(**PRICES, budget_usd=budget)
    asked = len(chat.asked)
    assert 0 < asked < 8, "the next request is counted with an upper bound"
    assert f"predictions of {asked} of 12 texts" in caught.value.found and "budget_usd" in caught.value.remedy
    with pytest.raises(ModelError, match="budget"):
        run.ask(**PRICES, budget_usd=budget)
    assert len(chat.asked) == asked, "what was spent before counts"
    found, spent = run.ask(**PRICES, budget_usd=1)
    assert found.predicted.tolist() == expected() and len(chat.asked) == 12 and spent == pytest.approx(12 * COST)


def test_replies_of_a_killed_process_are_used_and_its_half_line_is_dropped(run, chat):
    run.ask(TEXTS[:5])
    [path] = run.folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"text": "ab')
    chat.asked.clear()
    assert run.ask()[0].predicted.tolist() == expected() and len(chat.asked) == 7
    assert len(run.stored()) == 12
    path.write_bytes(b'{"form')  # killed while it wrote the first line
    assert run.ask(TEXTS[:1])[0].predicted.tolist() == expected(TEXTS[:1])


_ASK = """
import json, sys
from pathlib import Path
from training.candidates import LargeModel
from training.llm_log import open_log
from training.llm_peer import ask_peer
from training.llm_prompt import Prompt
peer = LargeModel(base_url=sys.argv[2], model="stub-1", concurrency=1)
with open_log(Path(sys.argv[1]), peer, Prompt()) as log:
    ask_peer(peer, Prompt(), json.loads(sys.argv[4]), log, sys.argv[3], progress=lambda *_: None)
"""


def test_process_killed_with_sigkill_loses_only_the_request_that_was_running(run, chat):
    sixth = Event()

    def hang_at_the_sixth(handler, text):
        if len(chat.asked) < 6 or sixth.is_set():
            return False
        sixth.set()
        return hang(handler)

    chat.behavior = hang_at_the_sixth
    process = subprocess.Popen([sys.executable, "-c", _ASK, str(run.folder), chat.url, KEY, json.dumps(TEXTS)], cwd=ROOT)
    try:
        assert sixth.wait(120)
    finally:
        process.kill()
        process.wait(60)
    assert run.ask()[0].predicted.tolist() == expected()
    assert len(chat.asked) == 13 and set(chat.texts) == set(TEXTS)


def test_log_has_neither_texts_nor_key_and_is_by_model_prompt_and_address(run, chat):
    run.ask(TEXTS[:2])
    [path] = run.folder.glob("*.jsonl")
    content = path.read_text()
    assert not any(text in content for text in TEXTS) and KEY not in content
    assert all(re.fullmatch(r"[0-9a-f]{64}", line["text"]) for line in run.stored())
    run.ask(TEXTS[:2], model="stub-2")
    run.ask(TEXTS[:2], prompt=Prompt((("fine", "positive"),)))
    assert len(list(run.folder.glob("*.jsonl"))) == 3 and len(chat.asked) == 6


@pytest.mark.parametrize("line", [b'{"text": 1}\n', b"prose\n", b"\xff\n"])
def test_damaged_log_is_an_error_that_names_the_line(run, line):
    run.ask(TEXTS[:1])
    [path] = run.folder.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(ModelError, match="damaged") as caught:
        run.ask(TEXTS[:1])
    assert "line 3" in caught.value.found


def test_second_process_with_the_same_log_is_refused(run):
    with open_log(run.folder, run.peer(), PROMPT), pytest.raises(ModelError, match="Another process"):
        run.ask()

"""The log of requests to a large model: a file of JSON lines, from which an interrupted evaluation resumes.

The first line names the model and the prompt; each other line is one request. A line is written in one piece as soon as the
reply is there. A process that is killed leaves at most one incomplete line, which is dropped when the log is opened again.
"""

import json
import os
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from data.artifacts import digest
from data.errors import ModelError
from training.candidates import LargeModel
from training.llm_prompt import Prompt

_FORMAT = 1
MAX_REQUESTS_WITHOUT_LABEL = 2
"""Replies without a label after which a text has none: it is asked for once more, not for ever."""


@dataclass(frozen=True)
class Request:
    """One request that was or may have been charged for."""

    text: str
    """SHA-256 of the text, which itself is not stored."""
    label: str | None
    """None: the reply had no label, or there was no reply."""
    input_tokens: int
    output_tokens: int
    measured: bool
    """Whether the tokens are those of the reply's `usage`; else an upper bound."""
    latency_ms: float | None
    """None: there was no reply."""


class RequestLog:
    """The requests of one model with one prompt, in memory and in the file."""

    def __init__(self, file: BinaryIO, requests: list[Request]) -> None:
        self._file = file
        self._by_text: defaultdict[str, list[Request]] = defaultdict(list)
        self.input_tokens = self.output_tokens = 0
        for request in requests:
            self._count(request)

    def add(self, request: Request) -> None:
        """Write a request. It is in the file when this returns, and survives the end of this process."""
        self._file.write(json.dumps(asdict(request)).encode() + b"\n")
        self._file.flush()
        self._count(request)

    def replies(self, text: str) -> list[Request]:
        """Return the requests for a text, by its digest, that had a reply; oldest first."""
        return [request for request in self._by_text.get(text, []) if request.latency_ms is not None]

    def is_done(self, text: str) -> bool:
        """Return whether a text, by its digest, has a label or is not asked for again."""
        replies = self.replies(text)
        return len(replies) >= MAX_REQUESTS_WITHOUT_LABEL or any(reply.label for reply in replies)

    def _count(self, request: Request) -> None:
        self._by_text[request.text].append(request)
        self.input_tokens += request.input_tokens
        self.output_tokens += request.output_tokens


@contextmanager
def open_log(folder: Path, peer: LargeModel, prompt: Prompt) -> Generator[RequestLog]:
    """Open the log of a model and prompt, which is created if there is none. One process at a time.

    Raises:
        ModelError: Another process has it open, or the file is damaged.
    """
    from filelock import FileLock, Timeout

    head: dict[str, Any] = {"format": _FORMAT, "base_url": peer.base_url, "model": peer.model, "prompt": prompt.digest}
    path = folder / f"{digest(head)[:16]}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ModelError(
            f"Another process sends requests to {peer.model} with the same prompt.",
            found=f"a lock on {path}",
            remedy="Wait for it to end; its replies are used then.",
        ) from None
    try:
        requests = _read(path, head)
        with path.open("ab") as file:
            yield RequestLog(file, requests)
            os.fsync(file.fileno())
    finally:
        lock.release()


def _read(path: Path, head: dict[str, Any]) -> list[Request]:
    """Return the requests in a file, and remove an incomplete last line; without a file, write one with the head."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        path.write_bytes(json.dumps(head).encode() + b"\n")
        return []
    if whole != content:
        os.truncate(path, len(whole))
    requests: list[Request] = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            value = json.loads(line)
            if number > 1:
                requests.append(Request(**value))
        except (ValueError, TypeError):
            value = None
        if value is None or (number == 1 and value != head):
            raise ModelError(
                f"The log of requests {path} is damaged.",
                found=f"line {number}: {line[:80]!r}",
                expected=json.dumps(head) if number == 1 else "a request in JSON",
                remedy="Remove that line, or the file; its texts are asked for again.",
            )
    return requests

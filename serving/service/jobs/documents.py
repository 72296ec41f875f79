"""Jobs of documents: a page or a text as the body, stored on disk, read by a process of its own, classified by windows.

The windows are the texts of the job, as objects, and the document is one of its options. So parts, claims and retries are those
of all jobs. The result is one JSON value, the same as that of `groundswell classify FILE --json`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from data.cleaning import clean
from data.domains import Domain
from data.errors import MalformedData
from data.language import Languages
from serving.bundle import Bundle
from serving.documents.parsed import Source, parse
from serving.documents.reading import MAX_DOCUMENT_BYTES
from serving.documents.report import Report, about, domain_of, strongest_sentences, text_of, window_results
from serving.documents.windows import Window
from serving.service import problems
from serving.service.jobs.queue import Options
from serving.service.off_loop import off_loop
from serving.service.problems import Refused
from serving.tiers import BASE

if TYPE_CHECKING:
    from serving.service.inference import InferenceService

PAGE_TYPES = ("text/html", "application/xhtml+xml")
TYPES = (*PAGE_TYPES, "application/octet-stream")
"""Without `text/plain`: a form of another site may send that without a CORS preflight."""
AT_ONCE = 3
"""Most documents that are received or read at one time; they are read one after the other."""
_READING = ThreadPoolExecutor(1, thread_name_prefix="documents")
_NOT_A_WINDOW = "is not a window of a document"
_held = 0


class DocumentParameters(BaseModel):
    """The query of a document."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="document", min_length=1, max_length=200)
    domain: Domain | None = None
    tier: str = Field(default=BASE, max_length=32)


async def receive_document(
    request: Request, wanted: DocumentParameters, bundle: Bundle, languages: Languages
) -> tuple[list[dict[str, Any]], Options]:
    """Receive and read a document; return its windows and the options of its job.

    Raises:
        Refused: 413 as soon as it is too large, 422 if it cannot be read, 503 when too many are received or read.
        ClientDisconnect: The client disconnected.
    """
    global _held  # noqa: PLW0603 - one count for all requests of the process
    if _held >= AT_ONCE:
        raise Refused(problems.OVERLOADED, "Too many documents are being read; retry later.", retry_after_s=5)
    _held += 1
    try:
        with TemporaryDirectory(prefix="groundswell-") as folder:
            file = Path(folder) / "document"
            await _store(request, file)
            media_type, _, parameters = request.headers.get("content-type", "").partition(";")
            charset = parameters.partition("charset=")[2].strip(" \"'") or None
            source = Source(file, wanted.name, media_type.strip().lower() in PAGE_TYPES, charset)
            return await asyncio.get_running_loop().run_in_executor(_READING, _read, source, wanted, bundle, languages)
    except MalformedData as error:
        raise Refused(problems.INVALID, error.in_one_line) from None
    finally:
        _held -= 1


async def _store(request: Request, file: Path) -> None:
    size = 0
    with file.open("wb") as stored:
        async for part in request.stream():
            size += len(part)
            if size > MAX_DOCUMENT_BYTES:
                raise Refused(problems.TOO_LARGE, f"The document has more than {MAX_DOCUMENT_BYTES:,} bytes.")
            stored.write(part)


def _read(
    source: Source, wanted: DocumentParameters, bundle: Bundle, languages: Languages
) -> tuple[list[dict[str, Any]], Options]:
    with parse(source, bundle) as document:
        if languages.rejection(document.language):
            raise MalformedData(f"{source.name} {languages.explain(document.language)}.")
        stored = {"about": about(document, wanted.tier, languages), "sections": document.sections}
        options = Options(True, wanted.tier, domain_of(document, wanted.domain), json.dumps(stored, ensure_ascii=False))
        return [asdict(window) for window in document], options


async def classify_windows(service: "InferenceService", stored: Sequence[Any], options: Options) -> list[dict[str, Any]]:
    """Return a result for each window of a part, or an error for one that was deleted.

    Raises:
        Overloaded: The wait would be longer than the deadline.
    """
    places = [place for place, one in enumerate(stored) if isinstance(one, dict)]
    windows = [Window(**stored[place]) for place in places]
    tier = options.tier if options.tier in service.tiers else BASE
    size = sum(len(sentence) for window in windows for sentence in window.sentences)
    cleaned = await off_loop(size, lambda: [text_of(window) for window in windows])
    predictions = await service.classify(cleaned, tier, options.domain, for_job=True)
    chosen = strongest_sentences(windows, predictions)
    sentences = await off_loop(size, lambda: [clean(windows[place].sentences[index]) for place, index in chosen])
    alone = await service.classify(sentences, tier, options.domain, for_job=True)
    results: list[dict[str, Any]] = [{"error": _NOT_A_WINDOW} for _ in stored]
    for place, result in zip(places, window_results(windows, predictions, chosen, alone), strict=True):
        results[place] = result
    return results


async def document_result(document: str, lines: AsyncIterator[bytes]) -> bytes:
    """Return the result of a document as JSON.

    Args:
        document: Of the options of its job.
        lines: The results of the job, part by part.
    """
    known = json.loads(document)
    report = Report(known["about"], known["sections"])
    async for part in lines:
        await off_loop(len(part), _add, report, part)
    return json.dumps(report.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()


def _add(report: Report, part: bytes) -> None:
    for line in part.splitlines():
        report.add(json.loads(line))

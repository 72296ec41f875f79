"""Filings of EDGAR, the archive of the SEC: the latest of some forms, or those of companies.

The SEC asks each client for a contact in `User-Agent` and for at most ten requests a second, and blocks others for ten minutes.
The event's text is the press release (exhibit 99) of a filing where there is one, else its main document.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from data.domains import Domain
from data.errors import SettingsError
from data.markup import is_html, seen_text
from data.times import utc
from data.tweets.fields import items, mapping
from serving.streaming.feeds.entries import Entry, Polled, Round
from serving.streaming.feeds.errors import FeedError, FeedUnavailable
from serving.streaming.feeds.fetching import Fetcher, Response, shown
from serving.streaming.feeds.syndication import read_feed

LEAST_GAP_S = 0.125
"""Between two requests: eight a second."""
BLOCKED_S = 600.0
"""The SEC lets a client in again after ten minutes of fewer requests."""
MAX_FILINGS = 100
"""Of one poll: the most that the list of the latest filings has."""
ROUND_S = 60.0
"""A poll ends after this time; the next one reads the rest."""
MAX_FAILURES = 3
"""Filings that fail one after the other end a poll."""
MAX_SUBMISSION_BYTES = 2 * 1024 * 1024
"""Of a filing's file, which begins with the main document and the first exhibits; what follows is not read."""
MAX_DOCUMENT_CHARS = 500_000
_ACCESSION = re.compile(r"\d{10}-\d{2}-\d{6}")
_LINK = re.compile(r"/edgar/data/(\d{1,10})/")
_TITLE = re.compile(r"\S+(?: \S+)? - (.{1,200}?) \(\d{10}\)")
_CONTACT = re.compile(r"[^\s()@]+@[^\s()@]+\.[^\s()@]+")


@dataclass(frozen=True)
class Filing:
    """A filing in a list."""

    accession: str
    cik: str
    form: str
    company: str
    filed_at: datetime | None


def require_contact(contact: str | None) -> str:
    """Return the contact that the SEC asks for.

    Raises:
        SettingsError: There is none, or it has no e-mail address.
    """
    if contact and contact.isascii() and contact.isprintable() and any(_CONTACT.fullmatch(word) for word in contact.split()):
        return contact
    raise SettingsError(
        "EDGAR requires a contact.",
        found=repr(contact) if contact else "none",
        expected="an e-mail address, which the SEC can write to",
        remedy="Add --contact you@example.org; it is sent to sec.gov in User-Agent, and nowhere else.",
    )


class EdgarFilings:
    """The latest filings of one form, or the filings of one company (`Connector`).

    Args:
        fetcher: Sends the requests, with a contact and `LEAST_GAP_S`.
        forms: In upper case, such as 8-K; amendments such as 8-K/A are included. Without a company exactly one.
        cik: A company's number; None: all companies.
        source: Of the events.
        domain: Of the events.
        interval_s: Seconds between two polls.
        www: Where lists and filings are.
        data: Where the filings of a company are.
    """

    name = "edgar"
    memory = 2_000

    def __init__(
        self,
        fetcher: Fetcher,
        forms: Sequence[str],
        cik: int | None = None,
        *,
        source: str | None = None,
        domain: Domain | None = "finance",
        interval_s: float = 60.0,
        www: str = "https://www.sec.gov",
        data: str = "https://data.sec.gov",
    ) -> None:
        self._fetcher, self._forms, self._cik, self._www = fetcher, forms, cik, www
        self.label = f"edgar CIK {cik} {' '.join(self._forms)}" if cik is not None else f"edgar {self._forms[0]}"
        self.key, self.source, self.interval_s = self.label, source or "edgar", interval_s
        self.domain: Domain | None = domain
        query = {"action": "getcurrent", "type": self._forms[0], "owner": "include", "count": MAX_FILINGS, "output": "atom"}
        self._list = f"{www}/cgi-bin/browse-edgar?{urlencode(query)}" if cik is None else f"{data}/submissions/CIK{cik:010d}.json"

    def poll(self, round: Round) -> Polled:
        """Read the list, and each filing that is new."""
        response = self._get(self._list)
        listed = _latest(response) if self._cik is None else _of_company(response)
        wanted = {form for name in self._forms for form in (name, f"{name}/A")}
        new: dict[str, Filing] = {}
        for filing in listed:  # one is listed once for each of its filers
            if filing.form.upper() in wanted and not round.is_known(_id(filing)):
                new.setdefault(_id(filing), filing)
        polled, ends_at, failures = Polled(), time.monotonic() + ROUND_S, 0
        for filing in [*new.values()][:MAX_FILINGS][::-1][: round.room]:
            if round.stop.is_set() or time.monotonic() > ends_at or failures >= MAX_FAILURES:
                break
            try:
                polled.items.append(self._entry(filing))
                failures = 0
            except FeedUnavailable as error:
                if error.wait_s is not None and not polled.items:
                    raise
                # Not remembered, and so requested again at the next poll.
                polled.rejected["filing not readable at the moment"] += 1
                failures = MAX_FAILURES if error.wait_s is not None else failures + 1
                polled.wait_s = error.wait_s
        return polled

    def reset(self) -> None:
        """Nothing: each poll is complete."""

    def close(self) -> None:
        """Nothing: the fetcher is the caller's."""

    def _entry(self, filing: Filing) -> Entry:
        number = filing.accession.replace("-", "")
        url = f"{self._www}/Archives/edgar/data/{filing.cik}/{number}/{filing.accession}.txt"
        try:
            response = self._get(url, max_bytes=MAX_SUBMISSION_BYTES, cut=True)
        except FeedUnavailable:
            raise
        except FeedError as error:
            return Entry(_id(filing), "", reason=f"filing not readable (HTTP {error.status})" if error.status else error.message)
        prose = filing_text(response.body.decode("utf-8", "replace"))
        if not prose:
            return Entry(_id(filing), "", reason="filing without prose")
        return Entry(_id(filing), f"{filing.form} {filing.company}\n\n{prose}", filing.filed_at, "en")

    def _get(self, url: str, **bounds: int | bool) -> Response:
        try:
            return self._fetcher.get(url, **bounds)  # pyright: ignore[reportArgumentType]
        except FeedError as error:
            if error.status != 403:
                raise
            raise FeedUnavailable(
                "The SEC refuses this client.",
                found="HTTP 403",
                remedy="Give a contact that exists with --contact, and let no other program send many requests.",
                status=403,
                wait_s=BLOCKED_S,
            ) from error


def _id(filing: Filing) -> str:
    return f"edgar:{filing.accession}"


def _latest(response: Response) -> Iterator[Filing]:
    for item in read_feed(response).items:
        accession, link = _ACCESSION.search(item.id or ""), _LINK.search(item.link or "")
        if accession and link and item.category:
            company = _TITLE.match(item.title)
            yield Filing(accession[0], link[1], item.category, company[1] if company else item.title, item.created_at)


def _of_company(response: Response) -> Iterator[Filing]:
    try:
        found = mapping(json.loads(response.body))
    except (ValueError, RecursionError):
        found = {}
    recent = mapping(mapping(found.get("filings")).get("recent"))
    if not recent:
        raise FeedError(
            f"{shown(response.url)} has no filings.",
            found=response.headers.get("content-type", "no content type")[:80],
            expected="JSON with filings.recent",
        )
    cik, company = str(found.get("cik", "")).lstrip("0"), str(found.get("name", ""))[:200]
    columns = (items(recent.get(name)) for name in ("accessionNumber", "form", "acceptanceDateTime"))
    for accession, form, accepted in zip(*columns, strict=False):
        if isinstance(accession, str) and _ACCESSION.fullmatch(accession) and isinstance(form, str) and cik.isdecimal():
            yield Filing(accession, cik, form, company, utc(accepted))


def filing_text(submission: str) -> str:
    """Return the text of a filing's file that is worth reading: of its first exhibit 99, else of its main document; may be empty.

    Args:
        submission: The complete submission text file, or its beginning.
    """
    main = ""
    for kind, document in _documents(submission):
        if kind.startswith("EX-99") and (text := _prose(document)):
            return text
        main = main or _prose(document)
    return main


def _documents(submission: str) -> Iterator[tuple[str, str]]:
    """Yield type and content of each document; the last may be cut."""
    at = 0
    while (at := submission.find("<DOCUMENT>", at)) >= 0:
        end = submission.find("</DOCUMENT>", at)
        document = submission[at : end if end >= 0 else len(submission)]
        head, _, content = document.partition("<TEXT>")
        kind = head.partition("<TYPE>")[2].partition("\n")[0].strip().upper()
        yield kind, content.partition("</TEXT>")[0]
        at += len(document)


def _prose(document: str) -> str:
    start = document[:200].lstrip().upper()
    if start.startswith(("<XML>", "<PDF>", "BEGIN ")):  # data, or a file in letters
        return ""
    document = document[:MAX_DOCUMENT_CHARS]
    return (
        seen_text(document) if is_html(document) else "\n".join(" ".join(line.split()) for line in document.split("\n")).strip()
    )

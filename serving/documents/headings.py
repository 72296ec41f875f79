"""The headings of a filing: its form on the cover, and its items."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

ITEM = re.compile(
    r"(?:part\s+(?P<part>i{1,3}|iv)\b[\s,.:;–—-]*)?items?\s+(?P<number>\d{1,2}\.\d{2}|\d{1,2}[a-k]?)"
    r"(?:\s*(?:,|and|&)\s*\d{1,2}[a-k]?)*"
    r"(?:\s*[.:–—-]+\s*|\s+|$)(?P<title>.*)",
    re.IGNORECASE,
)
PART = re.compile(r"part\s+(i{1,3}|iv)\b(?:[\s.:–—-]+(?:other |financial )?information)?[\s.]*", re.IGNORECASE)
_SIGNATURES = re.compile(r"signatures?", re.IGNORECASE)
_HEADING_CHARS = 200
"""Most characters of the line of a heading."""
_PAGE_NUMBER = re.compile(r"[\s.…]*(?:\b(?:[A-Z]-)?\d{1,3}|\(continued\)|[.:…])$", re.IGNORECASE)
_FORM = r"(?P<form>10-K|10-KT|10-Q|10-QT|8-K|20-F|40-F|6-K)(?:/A)?"
_DECLARED = re.compile(_FORM, re.IGNORECASE)
_COVER = re.compile(rf"form\s+{_FORM}\b", re.IGNORECASE)
_COMMISSION = "securities and exchange commission"
_COVER_LINES = 200


class Heading(NamedTuple):
    """The heading of an item."""

    number: str
    """Such as 1A or 2.02; `signatures` for those."""
    part: str
    """Such as II; empty where the line does not name it."""
    title: str
    """Without a page number; may be empty."""


def heading_of(line: str) -> Heading | None:
    """Return the heading that a line is; None: it is none, or part of a sentence."""
    if len(line) > _HEADING_CHARS:
        return None
    if _SIGNATURES.fullmatch(line):
        return Heading("signatures", "", "")
    match = ITEM.fullmatch(line)
    title = match["title"] if match else ""
    if match is None or title[:1].islower():  # "Item 1A of this report describes"
        return None
    return Heading(match["number"].upper(), (match["part"] or "").upper(), _PAGE_NUMBER.sub("", title).strip())


def form_named(declared: str) -> str | None:
    """Return the form that a document declares, without what marks an amendment; None: it is no form that we know."""
    match = _DECLARED.fullmatch(declared.strip())
    return match["form"].upper() if match else None


def form_of(lines: Iterable[str], declared: str | None = None) -> str | None:
    """Return the form of a filing, such as 10-K, by the name of the Commission and the form on its cover; None: it is none.

    Args:
        lines: Of the document.
        declared: The type that the document's inline XBRL declares.
    """
    if declared and (named := form_named(declared)):
        return named
    form, by_commission = None, False
    for line in islice(lines, _COVER_LINES):
        by_commission = by_commission or _COMMISSION in line.lower()
        if form is None and (match := _COVER.match(line)):
            form = match["form"].upper()
        if form and by_commission:
            return form
    return None

"""RSS 0.9x, 1.0 (RDF) and 2.0, Atom and JSON Feed: the entries in the bytes of a feed.

feedparser reads XML, broken XML too. It is given UTF-8 only, and only what a first pass found harmless: its lenient parser takes
seconds for a megabyte of broken markup.
"""

import codecs
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from data.markup import is_html, seen_text
from data.times import utc
from data.tweets.fields import items, mapping, string
from serving.streaming.feeds.errors import FeedError
from serving.streaming.feeds.fetching import Response, shown

MAX_ENTRIES = 2_000
"""Of one response: the first ones, which are the newest."""
MAX_MARKUP_CHARS = 200_000
"""Of one entry: what follows is not read."""
MAX_ELEMENTS, MAX_DEPTH, MAX_ATTRIBUTES = 100_000, 100, 100
MAX_BROKEN_BYTES = 512 * 1024
_LONG_TAG = re.compile(rb"<[^<>]{5000}")
_JSON_FEED = "https://jsonfeed.org/version/"
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._-]{1,40})""", re.IGNORECASE)
_CODECS = re.compile(
    r"utf-8|utf-16(-[bl]e)?|utf-32(-[bl]e)?|ascii|iso8859-\d+|cp125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|euc_(jp|kr)|shift_jis"
    r"|iso2022_jp"
)
_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"))
_BOMS_16 = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PROLOG = re.compile(r"(?:\s|<\?.{0,10000}?\?>|<!--.{0,100000}?-->)*", re.DOTALL)
_ENTITY = re.compile(r"<!DOCTYPE[^\[>]{0,1000}\[.*?<!ENTITY", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """An entry as a feed has it."""

    id: str | None
    """The feed's own id, else the address of the text."""
    link: str | None
    title: str
    text: str
    """Title and content, without markup."""
    created_at: datetime | None
    lang: str | None
    category: str | None


@dataclass(frozen=True)
class Feed:
    """A feed that was read."""

    items: list[Item]
    """In the feed's order, usually the newest first."""
    wait_s: float | None
    """Seconds that the feed asks to wait: `<ttl>`."""
    rejected: Counter[str]


def read_feed(response: Response) -> Feed:
    """Return the entries of a feed.

    Raises:
        FeedError: It is no feed, broken beyond reading, or has more elements than any feed needs.
    """
    kind = response.headers.get("content-type", "")
    text = _decoded(response.body, kind)
    start = text[_PROLOG.match(text).end() :][:200].lower() if text else ""  # pyright: ignore[reportOptionalMemberAccess]
    if not text.strip():
        raise FeedError(f"{shown(response.url)} is empty.", expected="RSS, Atom or JSON Feed")
    if start.startswith("{"):
        return _read_json(text, response)
    if start.startswith(("<!doctype html", "<html")):
        raise _html_instead(text, response)
    _require_harmless(text, response)
    return _read_xml(text, response)


def _decoded(body: bytes, content_type: str) -> str:
    """Return the text: by its byte order mark, else as the server states, else as the XML states, else UTF-8."""
    for mark, codec in (*_BOMS, *_BOMS_16):
        if body.startswith(mark):
            return body.decode(codec, "replace")
    stated, declared = _CHARSET.search(content_type), _DECLARED.match(body)
    for name in (stated[1] if stated else None, declared[1].decode() if declared else None, "utf-8"):
        if name is None:
            continue
        try:
            codec = codecs.lookup(name).name
            if _CODECS.fullmatch(codec):
                return body.decode(codec)
        except (LookupError, UnicodeDecodeError):
            continue
    return body.decode("cp1252", "replace")


def _html_instead(text: str, response: Response) -> FeedError:
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(text[:MAX_MARKUP_CHARS])
    title = page.css_first("title")
    link = page.css_first('link[rel=alternate][type="application/rss+xml"], link[rel=alternate][type="application/atom+xml"]')
    named = link.attributes.get("href") if link else None
    heading = " ".join(title.text().split())[:100] if title else ""
    return FeedError(
        f"{shown(response.url)} is a web page and no feed.",
        found=f"HTML with the title {heading!r}" if heading else "HTML",
        expected="RSS, Atom or JSON Feed",
        remedy=f"The page names its feed: {named[:300]}" if named else "Use the address of the feed.",
    )


def _require_harmless(text: str, response: Response) -> None:
    """Refuse entities, deep nests and floods of elements; broken XML only where it is long."""
    if _ENTITY.match(text[_PROLOG.match(text).end() :][:100_000]):  # pyright: ignore[reportOptionalMemberAccess]
        raise FeedError(
            f"{shown(response.url)} declares entities, which may expand to any size.", expected="a feed without <!ENTITY"
        )
    elements = depth = 0

    def opened(_: str, attributes: Mapping[str, str]) -> None:
        nonlocal elements, depth
        elements, depth = elements + 1, depth + 1
        if elements > MAX_ELEMENTS or depth > MAX_DEPTH or len(attributes) > MAX_ATTRIBUTES:
            raise FeedError(
                f"{shown(response.url)} is no feed that can be read.",
                found=f"{elements:,} elements, {depth} deep, {len(attributes):,} attributes of one",
                expected=f"at most {MAX_ELEMENTS:,} elements, {MAX_DEPTH} deep, {MAX_ATTRIBUTES} attributes of each",
            )

    def closed(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise FeedError(f"{shown(response.url)} declares entities, which may expand to any size.")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = opened, closed, refuse
    encoded = text.encode("utf-8", "replace")
    try:
        parser.Parse(encoded, True)
    except expat.ExpatError as error:
        is_large = len(encoded) > MAX_BROKEN_BYTES or encoded.count(b"<") > MAX_BROKEN_BYTES // 20
        if is_large or _LONG_TAG.search(encoded):
            raise FeedError(
                f"{shown(response.url)} is broken XML.",
                found=error,
                expected=f"well-formed XML; broken XML is read up to {MAX_BROKEN_BYTES:,} bytes",
            ) from error


def _read_xml(text: str, response: Response) -> Feed:
    import feedparser  # pyright: ignore[reportMissingTypeStubs]

    try:
        parsed: Any = feedparser.parse(  # pyright: ignore[reportUnknownMemberType]
            io.BytesIO(text.encode("utf-8", "replace")),
            # No address: ids must not depend on where a redirect led.
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,  # the text is taken out of the markup here
            resolve_relative_uris=False,
        )
    except Exception as error:  # on broken XML it raises whatever one of its readers of dates and markup does
        raise FeedError(f"{shown(response.url)} is broken XML.", found=type(error).__name__) from error
    entries: list[Any] = parsed.entries
    if not parsed.version or (parsed.bozo and not entries):
        raise FeedError(
            f"{shown(response.url)} is no feed.",
            found=f"{response.headers.get('content-type', 'no content type')[:80]}: {' '.join(text[:80].split())!r}"
            if not parsed.version
            else f"broken XML: {parsed.bozo_exception}"[:200],
            expected="RSS, Atom or JSON Feed",
        )
    minutes = str(parsed.feed.get("ttl", ""))
    wait_s = 60.0 * int(minutes) if minutes.isdecimal() and len(minutes) < 6 else None
    found = [_xml_item(entry, parsed.feed.get("language")) for entry in entries[:MAX_ENTRIES]]
    return Feed(found, wait_s, _over(len(entries)))


def _over(count: int) -> Counter[str]:
    return Counter({f"more than {MAX_ENTRIES:,} entries in the feed": count - MAX_ENTRIES} if count > MAX_ENTRIES else {})


def _xml_item(entry: Any, lang: str | None) -> Item:
    title = plain_text(str(entry.get("title") or ""))
    parts: list[Any] = [*entry.get("content", []), entry.get("summary_detail") or {}]
    body = max((str(part.get("value") or "") for part in parts), key=len)
    stated = (entry.get("title_detail") or {}).get("language") or lang
    when = entry.get("published_parsed") or entry.get("updated_parsed")
    terms: list[Any] = entry.get("tags") or []
    return Item(
        id=string(entry.get("id")) or string(entry.get("link")),
        link=string(entry.get("link")),
        title=title,
        text=joined(title, plain_text(body)),
        created_at=_moment(when),
        lang=string(stated),
        category=string(terms[0].get("term")) if terms else None,
    )


def _moment(when: Any) -> datetime | None:
    try:
        return datetime(*when[:6], tzinfo=UTC) if when else None
    except (ValueError, TypeError, OverflowError):
        return None


def _read_json(text: str, response: Response) -> Feed:
    try:
        parsed = mapping(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FeedError(f"{shown(response.url)} is broken JSON.", found=type(error).__name__, expected="JSON Feed") from error
    if not str(parsed.get("version", "")).startswith(_JSON_FEED):
        raise FeedError(f"{shown(response.url)} is JSON and no feed.", expected=f"a version such as {_JSON_FEED}1.1")
    entries = items(parsed.get("items"))
    lang = string(parsed.get("language"))
    found = [_json_item(mapping(entry), lang) for entry in entries[:MAX_ENTRIES]]
    return Feed(found, None, _over(len(entries)))


def _json_item(entry: Mapping[str, Any], lang: str | None) -> Item:
    title = plain_text(string(entry.get("title")) or "")
    markup = string(entry.get("content_html"))
    body = seen_text(markup[:MAX_MARKUP_CHARS]) if markup else string(entry.get("content_text") or entry.get("summary")) or ""
    identity = entry.get("id")
    return Item(
        id=string(str(identity)) if isinstance(identity, str | int) else string(entry.get("url")),
        link=string(entry.get("url")),
        title=title,
        text=joined(title, body),
        created_at=utc(entry.get("date_published") or entry.get("date_modified")),
        lang=string(entry.get("language")) or lang,
        category=None,
    )


def plain_text(markup: str) -> str:
    """Return the text of an entry's field: what a reader sees of HTML, any other text as it is."""
    markup = markup[:MAX_MARKUP_CHARS]
    return seen_text(markup) if is_html(markup) else markup.strip()


def joined(title: str, body: str) -> str:
    """Return title and text as one; a title that the text begins with is not repeated."""
    if not title or not body:
        return title or body
    repeats = body.startswith(title) and not body[len(title) : len(title) + 1].isalnum()
    return body if repeats else f"{title}\n\n{body}"


def fallback_id(item: Item) -> str:
    """Return an id for an entry that has none: a changed one is then another entry."""
    return hashlib.sha256(item.text.encode(errors="replace")).hexdigest()[:32]

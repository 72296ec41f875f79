"""The blocks of text of a page, or of a plain text: paragraphs and headings, without what is no text for a reader.

Left out are scripts, hidden elements, the hidden part of iXBRL, navigation, page numbers, and tables of numbers. Of a page that
is no filing, only the main content is read: the `article` or `main` element with the most text, else the smallest element that
holds two thirds of the characters of the page's paragraphs.

Source:
    The share of digits from which a table is left out is that of Loughran and McDonald, "Stage One 10-X Parse Data": 10 % of its
    letters and digits.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from data.errors import MalformedData
from data.markup import HIDDEN_STYLE, UNSEEN
from serving.documents.headings import ITEM, form_of

MAX_DEPTH = 5_000
"""Elements within each other, counted before the page is parsed: time grows with the square of the depth."""
MAX_TAGS = 1_500_000
"""Of one page. A node takes about 300 bytes of memory; a filing of 20 MB with inline XBRL has about 700,000 tags."""
TABLE_DIGITS = 0.1
_MAIN_SHARE = 2 / 3
_MAIN_CLIMB = 12
"""Levels above a paragraph at which the main element is looked for."""
_NAVIGATION = "nav, aside, footer, button, [role=navigation], [role=banner], [role=contentinfo], [role=dialog]"
_HIDDEN_IXBRL = "ix\\:header, ix\\:hidden"
_BLOCKS = (
    "address, article, blockquote, center, dd, div, dl, dt, fieldset, figcaption, form, header, hr, li, main, ol, p, section, "
    "table, tr, ul"
)
_HEADINGS = ("h1", "h2", "h3")
_OTHER_HEADINGS = "h4, h5, h6"
_END, _HEADING, _LINE = "\ufdd0", "\ufdd1", "\ufdd2"  # characters of no text
_OWN = re.compile(f"[{_END}-{_LINE}]")
_BREAK = re.compile(rf"{_END}|{_LINE}\s*{_LINE}")
_TAG = re.compile(r"<(/?)([a-zA-Z][\w:.-]*)((?:[^<>/]++|/(?!>))*+)(/?)>")
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())  # noqa: SIM905
_CLOSED_BY_OTHERS = frozenset("p li td th tr tbody thead tfoot dt dd option colgroup".split())  # noqa: SIM905
_SELF_CLOSED = re.compile(rf"<(?!(?:{'|'.join(sorted(_VOID))})\b)([a-zA-Z][\w:.-]*)(\s(?:[^<>/]++|/(?!>))*+)?/>", re.I)
_OLD_TABLE = re.compile(r"<TABLE>.*?</TABLE>", re.DOTALL | re.I)
_OLD_TAG = re.compile(r"</?(?:PAGE|TABLE|CAPTION|S|C|FN|R|TYPE|SEQUENCE|FILENAME|DESCRIPTION)>", re.I)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*|\f")
_WRAPPED_CHARS = 200
"""A line longer than this was not wrapped: then each line is a paragraph."""
_DIGITS, _LETTERS = re.compile(r"[0-9]"), re.compile(r"[^\W\d_]")
_OF_EACH_PAGE = re.compile(r"(?:back to |return to )?table of contents|page \S+(?: of \S+)?|\W*(?:[A-Z]-)?\d+\W*", re.I)


class Block(NamedTuple):
    """A paragraph or a heading: one line of text."""

    text: str
    level: int = 0
    """1 to 3: of a heading; 0: a paragraph."""


class Blocks(NamedTuple):
    """The blocks of a document."""

    blocks: list[Block]
    form: str | None
    """Of a filing."""


def page_blocks(html: str, name: str) -> Blocks:
    """Return the blocks of a page.

    Raises:
        MalformedData: It has too many tags, or they are nested too deep.
    """
    require_shallow(html, name)
    from selectolax.lexbor import LexborHTMLParser

    if "<?xml" in html[:200] or "xmlns" in html[:5000]:
        html = _SELF_CLOSED.sub(r"<\1\2></\1>", html)  # a parser of HTML takes them for opening tags
    tree: Any = LexborHTMLParser(_OWN.sub(" ", html))
    declared = tree.css_first('[name="dei:DocumentType"]')
    _drop_unseen(tree)
    _drop_number_tables(tree)
    _mark(tree)
    if tree.body is None:
        return Blocks([], None)
    blocks = _blocks(tree.body)
    form = form_of((block.text for block in blocks), declared.text().strip() if declared else None)
    if form is None and (main := _main_element(tree)) is not None:
        blocks = _blocks(main) or blocks
    return Blocks(blocks, form)


def plain_blocks(text: str) -> Blocks:
    """Return the blocks of a plain text: parts between blank lines, or lines where they are not wrapped."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _OLD_TABLE.sub(lambda table: "\n\n" if _is_numbers(_OLD_TAG.sub(" ", table[0])) else table[0], text)
    blocks = list(_seen_lines(_paragraphs(_OLD_TAG.sub("\n\n", text))))
    return Blocks(blocks, form_of(block.text for block in blocks))


def require_shallow(html: str, name: str) -> None:
    """Require that a page can be parsed in bounded memory and time.

    Raises:
        MalformedData: It has too many tags, or they are nested too deep.
    """
    if (tags := html.count("<")) > MAX_TAGS:
        found, expected = f"{tags:,} tags", f"at most {MAX_TAGS:,}"
        remedy = "Save its text as plain text."
        raise MalformedData(f"{name} has too many tags.", found=found, expected=expected, remedy=remedy)
    depth = deepest = 0
    for match in _TAG.finditer(html):
        closes, tag, _, closed = match.groups()
        tag = tag.lower()
        if closed or tag in _VOID or tag in _CLOSED_BY_OTHERS:
            continue
        depth = max(0, depth - 1) if closes else depth + 1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise MalformedData(
            f"{name} is nested too deep.",
            found=f"{deepest:,} elements within each other",
            expected=f"at most {MAX_DEPTH:,}",
            remedy="Open it in a browser and save its text as plain text.",
        )


def _drop_unseen(tree: Any) -> None:
    for node in tree.css(f"{UNSEEN}, {_HIDDEN_IXBRL}, {_NAVIGATION}"):
        node.decompose()
    for node in tree.css("[style]"):
        if HIDDEN_STYLE.search(node.attributes.get("style") or ""):
            node.decompose()


def _drop_number_tables(tree: Any) -> None:
    """Drop tables of numbers: of nested ones the innermost, so that the work is linear; a heading may be in a table."""
    for table in tree.css("table:not(:has(table))"):
        text = table.text(separator=" ")
        if _is_numbers(text) and not (ITEM.match(" ".join(text.split())) and len(table.css("tr")) < 3):
            table.decompose()


def _is_numbers(text: str) -> bool:
    digits, letters = len(_DIGITS.findall(text)), len(_LETTERS.findall(text))
    return digits > TABLE_DIGITS * (digits + letters)


def _mark(tree: Any) -> None:
    """Write marks into the text: where blocks end, which are headings, and where lines break."""
    for node in tree.css("pre"):
        node.replace_with(_END.join(["", *_paragraphs(node.text()), ""]))
    for node in tree.css("br"):
        node.insert_before(_LINE)
    for node in tree.css("td, th"):
        node.insert_after(" ")
    for node in tree.css(f"{_BLOCKS}, {_OTHER_HEADINGS}"):
        node.insert_before(_END)
        node.insert_after(_END)
    for level, tag in enumerate(_HEADINGS, start=1):
        for node in tree.css(tag):
            node.insert_before(f"{_END}{_HEADING}{level}")
            node.insert_after(_END)


def _blocks(node: Any) -> list[Block]:
    return list(_seen_lines(_BREAK.split(node.text())))


def _seen_lines(parts: Iterable[str]) -> Iterable[Block]:
    """Yield the parts with text, each as one line, without page numbers and what else stands on each page."""
    for part in parts:
        line = " ".join(part.replace(_LINE, " ").split())
        level = 0
        if line.startswith(_HEADING):
            level, line = int(line[1]), line[2:].strip()
        line = line.replace(_HEADING, "")
        if line and not _OF_EACH_PAGE.fullmatch(line) and len(_LETTERS.findall(line)) > len(_DIGITS.findall(line)):
            yield Block(line, level)


def _main_element(tree: Any) -> Any:
    """Return the element with the main content of a page; None: the page has no paragraphs."""
    marked = tree.css("article, main, [role=main]")
    best = max(marked, key=lambda node: len(node.text()), default=None)
    if best is not None and best.text().strip(f"{_END}{_LINE} \n\t"):
        return best
    chars: Counter[int] = Counter()
    nodes: dict[int, tuple[int, Any]] = {}
    whole = 0
    for paragraph in tree.css("p"):
        size = len(paragraph.text())
        whole += size
        node = paragraph
        for climbed in range(_MAIN_CLIMB):
            node = node.parent
            if node is None or node.tag in ("body", "html"):
                break
            chars[node.mem_id] += size
            nodes.setdefault(node.mem_id, (climbed, node))
    large = [key for key, count in chars.items() if count >= _MAIN_SHARE * whole]
    # Those that hold as much are within each other: the one nearest to its paragraphs is the smallest.
    return nodes[min(large, key=lambda key: (chars[key], nodes[key][0]))][1] if large else None


def _paragraphs(text: str) -> list[str]:
    if max((len(line) for line in text.split("\n")), default=0) > _WRAPPED_CHARS:
        return text.split("\n")
    paragraphs: list[str] = []
    for part in _BLANK_LINE.split(text):
        start = 0
        lines = part.split("\n")
        for index, line in enumerate(lines):
            if ITEM.match(line.strip()):  # a heading may have no blank line next to it
                paragraphs += [" ".join(lines[start:index]), line]
                start = index + 1
        paragraphs.append(" ".join(lines[start:]))
    return paragraphs

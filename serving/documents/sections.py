"""The sections of a document: of a filing by its items, of others by the headings h1 to h3, else one.

A filing names each item several times: in its table of contents, at the section, and maybe in an index at the end and at the top
of pages. A run of three or more headings with hardly any text between them is a table of contents or an index if its items are
also elsewhere; the longest run is decided first, so that a run of short sections ("Item 4. Mine Safety Disclosures. None.")
remains. The same item again continues its section.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from serving.documents.headings import PART, Heading, heading_of
from serving.documents.pages import Block
from serving.documents.reading import Text

CONTENTS_WORDS = 40
"""An entry of a table of contents has fewer words after it."""
_CONTENTS_RUN = 3
_MAX_HEADINGS = 5_000
"""Of items. More are no filing's, and the time grows with the square of their number."""
MAX_SECTIONS = 500
"""More headings are text of the last section."""
_TITLE_CHARS = 160
_LEAST_SHARE = 1 / 3
"""Of the words of a filing that its items hold together; with less, its headings are only in an index."""


@dataclass
class Section:
    """A section with its paragraphs, in order."""

    title: str
    """Empty: the document has no sections."""
    paragraphs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A heading in the blocks."""

    heading: Heading
    start: int
    """Its block."""
    text_start: int
    words: int
    """Up to the next heading."""

    def is_of(self, other: "_Found") -> bool:
        """Whether both name the same item; a part that is not known is any."""
        mine, theirs = self.heading, other.heading
        return mine.number == theirs.number and (mine.part == theirs.part or not mine.part or not theirs.part)


def sections_of(text: Text) -> list[Section]:
    """Return the sections that have text, at least one, in order."""
    sections = _by_items(text.blocks, text.form) if text.form else []
    sections = [section for section in sections or _by_headings(text.blocks) if section.paragraphs]
    if len(sections) > MAX_SECTIONS:
        rest = [paragraph for section in sections[MAX_SECTIONS - 1 :] for paragraph in section.paragraphs]
        sections = [*sections[: MAX_SECTIONS - 1], Section("Other sections", rest)]
    return sections


def _by_headings(blocks: Sequence[Block]) -> list[Section]:
    """A heading is also text, since that of an article has its main point; without headings there is one section."""
    has_headings = any(block.level for block in blocks)
    sections = [Section("Beginning" if has_headings else "")]
    for block in blocks:
        if block.level:
            sections.append(Section(block.text[:_TITLE_CHARS]))
        sections[-1].paragraphs.append(block.text)
    return sections


def _by_items(blocks: Sequence[Block], form: str) -> list[Section]:
    """Return the cover and the items; nothing if they hold too little of the text."""
    found = list(_headings(blocks, has_parts=form.startswith("10-Q")))
    if len(found) > _MAX_HEADINGS:
        return []
    contents = _contents(found)
    kept = [one for index, one in enumerate(found) if index not in contents]
    no_text = {place for index in contents for place in range(found[index].start, found[index].text_start)}
    no_text |= {place for place, block in enumerate(blocks) if PART.fullmatch(block.text)}
    cover, sections = Section("Cover"), dict[str, Section]()
    current, start = cover, 0
    for one in [*kept, None]:
        end = one.start if one else len(blocks)
        current.paragraphs += [blocks[place].text for place in range(start, end) if place not in no_text]
        if one:
            current, start = sections.setdefault(_name(one, sections), Section(_title(one))), one.text_start
    items = list(sections.values())
    words = [sum(len(paragraph.split()) for section in part for paragraph in section.paragraphs) for part in (items, [cover])]
    return [cover, *items] if words[0] >= _LEAST_SHARE * sum(words) else []


def _headings(blocks: Sequence[Block], *, has_parts: bool) -> Iterator[_Found]:
    """Yield the headings; a number alone has its title in the next block. A quarterly report numbers the items of each part."""
    starts: list[tuple[Heading, int, int]] = []
    part = ""
    for place, block in enumerate(blocks):
        if match := PART.fullmatch(block.text):
            part = match[1].upper()
        if (heading := heading_of(block.text)) is None:
            continue
        after = place + 1
        following = blocks[after].text if after < len(blocks) else ""
        if not heading.title and heading.number != "signatures" and len(following) <= _TITLE_CHARS and not heading_of(following):
            heading, after = heading._replace(title=following), after + 1
        part = heading.part or part
        starts.append((heading._replace(part=part if has_parts else ""), place, after))
    for index, (heading, start, after) in enumerate(starts):
        end = starts[index + 1][1] if index + 1 < len(starts) else len(blocks)
        yield _Found(heading, start, after, sum(len(block.text.split()) for block in blocks[after:end]))


def _contents(found: Sequence[_Found]) -> set[int]:
    """Return the headings that are entries of a table of contents or an index."""
    by_number: dict[str, list[int]] = {}
    for index, one in enumerate(found):
        by_number.setdefault(one.heading.number, []).append(index)
    dropped: set[int] = set()
    for run in sorted(_runs(found), key=len, reverse=True):
        dropped |= {
            index
            for index in run
            if any(
                other not in run and other not in dropped and found[other].is_of(found[index])
                for other in by_number[found[index].heading.number]
            )
        }
    return dropped


def _runs(found: Sequence[_Found]) -> Iterator[range]:
    """Yield runs of different items with hardly any text between them; the text after the last one may be long."""
    start, seen = 0, set[str]()
    for index, one in enumerate(found):
        key = f"{one.heading.part} {one.heading.number}"
        if key in seen:
            if index - start >= _CONTENTS_RUN:
                yield range(start, index)
            start, seen = index, set()
        seen.add(key)
        if one.words >= CONTENTS_WORDS:
            if index + 1 - start >= _CONTENTS_RUN:
                yield range(start, index + 1)
            start, seen = index + 1, set()
    if len(found) - start >= _CONTENTS_RUN:
        yield range(start, len(found))


def _name(one: _Found, known: dict[str, Section]) -> str:
    """Return the key of a section: `part number`, or that of a known section of the same item where the part is not known."""
    number, part = one.heading.number, one.heading.part
    return next((key for key in known if not part and key.endswith(f" {number}")), f"{part} {number}")


def _title(one: _Found) -> str:
    number, part, title = one.heading
    if number == "signatures":
        return "Signatures"
    where = f"Part {part}, Item {number}" if part else f"Item {number}"
    return f"{where}. {title}"[:_TITLE_CHARS].rstrip(". ")

"""The texts that are sent through every path: labeled rows of every dataset, and a fixed set of hard characters."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from data.artifacts import write_text
from data.domains import DOMAINS, domains_of_sources
from data.readable import MAX_DOCUMENT_CHARS
from orchestration.layout import Layout
from orchestration.steps.data import ensure_splits, read_texts

if TYPE_CHECKING:
    import pandas as pd

HARD_SHARE = 4
"""One row in so many is of the hard characters."""
LONG_CHARS = 9_500
"""Length of the longest texts that can be classified: the stream and the lakehouse take at most 10,000 characters."""
UNKNOWN_SOURCE = "elsewhere"
"""A source without a domain."""
_SEED = 18
_WORDS = (
    "the refund came late and the box was broken",
    "what a wonderful morning, thank you all",
    "shares closed flat after the report",
    "worst flight ever, never again",
    "it arrives on Tuesday at noon",
    "margins widened, guidance was raised",
)


@dataclass(frozen=True)
class Row:
    """One text."""

    number: int
    """Its identity on every path, counted from 0."""
    text: str
    domain: str | None
    """What it is sent as; None: without a domain."""
    kind: str
    """The dataset that it is from, or the kind of hard characters."""


def choose_rows(layout: Layout, count: int) -> list[Row]:
    """Return `count` texts, the same for the same splits: three quarters are labeled rows, the others hard characters.

    The datasets take turns, so that each has its share, whatever its size. Without splits these are made first.

    Raises:
        DataError: A required dataset could not be fetched, or none is available.
    """
    ensure_splits(layout)
    hard = hard_texts(max(1, count // HARD_SHARE))
    frames = [read_texts(layout, split) for split in ("val", "test")]
    labeled = list(islice(_in_turns(frames), count - len(hard)))
    texts = [*labeled, *hard]
    random.Random(_SEED).shuffle(texts)
    return [Row(number, text, domain, kind) for number, (text, domain, kind) in enumerate(texts)]


def _in_turns(frames: "Sequence[pd.DataFrame]") -> Iterable[tuple[str, str, str]]:
    """Yield text, domain and dataset: of each dataset the first, then of each the second."""
    groups = [
        group.sample(frac=1, random_state=_SEED)[["text", "domain", "source"]].itertuples(index=False, name=None)
        for frame in frames
        for _, group in frame.groupby("source")
    ]
    return (row for turn in zip_longest(*groups) for row in turn if row is not None)


def hard_texts(count: int) -> list[tuple[str, str | None, str]]:
    """Return `count` texts with hard characters as text, domain and kind: the kinds and the domains take turns."""
    chance = random.Random(_SEED)
    kinds, domains = list(_KINDS.items()), (None, *DOMAINS)
    found: list[tuple[str, str | None, str]] = []
    for number in range(count):
        turn, place = divmod(number, len(kinds))
        kind, pieces = kinds[place]
        piece = pieces[turn % len(pieces)]
        domain = domains[(place + turn) % len(domains)]  # of each kind another one in each turn
        found.append((piece if kind.startswith("refused") else _within(piece, kind, chance), domain, kind))
    return found


def _within(piece: str, kind: str, chance: random.Random) -> str:
    """Put characters into words: before, after or within them; repeated for a long text."""
    before, after = chance.choice(_WORDS), chance.choice(_WORDS)
    if kind == "near-blank":
        return piece
    if kind == "long":
        part = f"{before} {piece} {after}. "
        return (part * (LONG_CHARS // len(part) + 1))[: chance.randrange(500, LONG_CHARS)]
    return chance.choice((f"{before} {piece}", f"{piece} {after}", f"{before}{piece}{after}"))


_KINDS: dict[str, tuple[str, ...]] = {
    "emoji": ("😡", "😍😍😍😍😍", "🎉 great 🎉", "☃", "🫠", "\U0001fae9"),
    "emoji joined": ("👩‍👩‍👧‍👦", "🤷🏿‍♀️", "❤️‍🔥", "👏🏽👏🏿", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\u200d😀\u200d"),
    "refused: blank": ("", " ", "\u200b", "\u200b&nbsp;<br>", "\n\t\r\n", "<p></p>", "\u3164\u2800"),
    "flags and keycaps": ("🇫🇷", "1️⃣2️⃣", "🇫", "#️⃣", "🇺🇸🇬🇧🇨"),
    "emoticons": (":(", "<3", "¯\\_(ツ)_/¯", "(╥﹏╥)", "(ノಠ益ಠ)ノ彡┻━┻", ":-))))"),
    "right to left": ("خدمة سيئة جدا", "שירות נורא", "\u202eevil\u202c", "\u2066abc\u2069", "مرحبا great שלום"),
    "without spaces": ("最高のサービス", "服务太差了", "정말 최악이에요", "見てhttps://t.co/abc最高", "@annaさんの対応"),
    "full-width": ("ｓｏ　ｇｏｏｄ！", "ＢＡＤ！！", "ﾊﾝｶｸ", "＠ｂｅｎ", "１００％"),
    "combining marks": (
        "e\u0301te\u0301",
        "हिंदी",
        "Z\u0351\u036b\u0343a\u0334\u0321l\u0335g\u0322o\u0321",
        "ñ n\u0303",
        "a\u0300" * 40,
    ),
    "refused: null bytes": ("a good\x00film", "\x00", "bad\x00\x00"),
    "letters of other shapes": ("𝐬𝐨 ⓖⓞⓞⓓ", "ᴅʀᴇᴀᴅ", "drеаd", "𝔤𝔯𝔢𝔞𝔱", "ﬁne", "№ ㎏ ½"),
    "HTML": ("<p>so <b>rude</b></p>", "<script>alert(1)</script>", "a < b > c", "<br><br/>", "<style>p{}</style>", "<!-- x -->"),
    "entities and escapes": ("fish &amp;amp; chips", "it\\u2019s", "&#128545;", "&lt;b&gt;", "\\n\\t", "%20%F0%9F%98%A1"),
    "links and mentions": ("http://x.example/a?b=1&c=2", "@user_name", "#Hash_tag", "RT @ann: no", "mail@example.org", "$AAPL"),
    "refused: too long": ("so " * (MAX_DOCUMENT_CHARS // 3 + 1), "x" * (MAX_DOCUMENT_CHARS + 1)),
    "control characters": ("\x01\x02", "\x1b[31mred\x1b[0m", "\r\n", "\x0b\x0c", "\x7f\x85", "\ufeff", "\u2028\u2029"),
    "not seen": ("\u200b", "\u00ad", "\u3164", "\u2800", "\ufe0f", "\u2060", "\U000e0041"),
    "halves of characters": ("\ud83d", "\ude00", "\ud83d\ude00", "\ude00\ud83d"),
    "quotes and delimiters": ('"', "'; --", '""a"",b', "a\tb\tc", "{}[]", "\\", "`", "“so-called”"),
    "elongated": ("soooooooo", "!!!!!!!!!!", "haha" * 30, "1000000", "aaaa" * 200),
    "numbers and signs": ("+5%", "-5 %", "$1.2bn", "€3,50", "1e-9", "−7", "٣٤"),
    "near-blank": (".", "?", "a", "\u200b!", "&nbsp;x", "<p>.</p>", "🙂", "-"),
    "long": (" ", "😡", "最高", "<b>x</b>", "&amp;"),
}
"""Characters by kind. Those of a refused kind are the whole text; a text of null bytes is refused by every reader."""


def source_of(domain: str | None) -> str:
    """Return a source whose messages have this domain (configs/domains.yaml), for paths that know sources only."""
    by_domain = {of: source for source, of in domains_of_sources().items()}
    return by_domain.get(domain or "", UNKNOWN_SOURCE)


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON lines; halves of characters as escapes."""
    write_text(file, "".join(json.dumps(asdict(row)) + "\n" for row in rows))


def read_rows(file: Path) -> list[Row]:
    """Read the rows of `write_rows`."""
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]

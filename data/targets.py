"""Texts about one company of those that they name: the company is marked in the text, and the model reads it like any other text.

Each mention of the company is replaced by the word `target`. Measured on the texts with a score for each company (1,227 training
rows, three epochs): a name in front of the text gave the right order of two companies in 55 % of made sentences, as chance
does; marked mentions gave 96 %.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

TARGET_DOMAIN = "finance"
"""The domain whose head reads marked texts."""
MARK = "target"
"""The word that stands for the company."""
MAX_TARGET = 100
"""Characters of a company's name."""
MAX_TARGETS = 8
"""Of one request; each costs as much as the text."""
MAX_MENTIONS = 100
"""Mentions of one text that are marked, so that a short name cannot make a long text much longer."""
_FIRST_WORD = 3
"""Letters that the first word of a name has at least, where it stands for the whole name."""


class Contrast(NamedTuple):
    """A made sentence about two companies, from the view of one of them."""

    text: str
    target: str
    label: str


def mark_target(text: str, target: str) -> tuple[str, bool]:
    """Return the text with each mention of a company (at most `MAX_MENTIONS`) replaced by `MARK`, and whether it has one.

    A mention is the name, in any case and with or without `$`, `#` or `@` before it; else the first word of the name. A text
    without a mention gets `target: ` in front.

    Args:
        text: As given, before cleaning.
        target: A name or a ticker: `Royal Mail`, `AAPL`, `$AAPL`.
    """
    name = target.strip().lstrip("$#@")
    first = re.split(r"[^\w]+", name, maxsplit=1)[0]
    for mention in (name, first):
        if not mention or (mention != name and len(mention) < _FIRST_WORD):
            continue
        pattern = rf"(?<!\w)[$#@]?{re.escape(mention)}(?!\w)"
        marked, count = re.subn(pattern, MARK, text, count=MAX_MENTIONS, flags=re.IGNORECASE)
        if count:
            return marked, True
    return f"{MARK}: {text}", False


_PHRASES = {
    "train": {
        "positive": (
            "{} rises",
            "{} jumps",
            "{} gains 4 %",
            "{} rallies",
            "{} beats forecasts",
            "{} raises its dividend",
            "{} surges",
            "{} looks strong",
            "going long {}",
            "{} is a buy",
        ),
        "negative": (
            "{} falls",
            "{} slumps",
            "{} loses 4 %",
            "{} sinks",
            "{} misses forecasts",
            "{} cuts its dividend",
            "{} plunges",
            "{} looks weak",
            "going short {}",
            "{} is a sell",
        ),
        "neutral": ("{} is unchanged", "{} reports on Tuesday", "{} holds its annual meeting", "no news from {}"),
    },
    "test": {
        "positive": ("{} profit up", "{} wins a contract", "upgrade for {}", "I am buying {}", "{} hits a record high"),
        "negative": ("{} profit down", "{} loses a contract", "downgrade for {}", "I am selling {}", "{} hits a record low"),
        "neutral": ("{} trades flat", "{} publishes its calendar"),
    },
}
_NAMES = {
    "train": (
        "Boeing",
        "Tesco",
        "Nokia",
        "$AAPL",
        "$MSFT",
        "Glencore",
        "Shell",
        "Barclays",
        "$AMZN",
        "Siemens",
        "Volvo",
        "$INTC",
    ),
    "test": ("Airbus", "Sainsbury", "Ericsson", "$GOOG", "$NFLX", "Aviva", "Kingfisher", "$AMD"),
}
_JOINS = (" while ", " but ", ", ", " as ", "; ", ", and ")
_NEWS = (("positive", "negative"), ("positive", "negative"), ("positive", "neutral"), ("neutral", "negative"))
"""Labels of the two companies of a sentence; half of the sentences have opposite news."""
CONTRASTS = {"train": 300, "test": 150}
"""Sentences of each split; each gives two rows. Their phrases and names differ."""


def contrasts(split: str) -> Sequence[Contrast]:
    """Return the rows of a split, always the same: of each sentence, first the company with the better news.

    Args:
        split: `train` or `test`.
    """
    draw = random.Random(f"contrasts of {split}")
    phrases = _PHRASES[split]
    rows: list[Contrast] = []
    for _ in range(CONTRASTS[split]):
        better, worse = draw.choice(_NEWS)
        first, second = draw.sample(_NAMES[split], 2)
        parts = [draw.choice(phrases[better]).format(first), draw.choice(phrases[worse]).format(second)]
        text = draw.choice(_JOINS).join(parts if draw.random() < 0.5 else parts[::-1])
        rows += [Contrast(text, first, better), Contrast(text, second, worse)]
    return rows

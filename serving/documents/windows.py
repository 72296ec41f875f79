"""Windows of a document: as many whole sentences of a section as the model reads at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from data.cleaning import clean
from data.tokenization import Tokenizer, encode_windows
from serving.documents.sections import Section
from serving.documents.sentences import sentences_of

_AT_ONCE = 512
"""Sentences that are tokenized together."""
_GROUP_WORDS = 16
_WORD_CHARS = 200
"""A longer run without a space is cut."""


@dataclass(frozen=True)
class Window:
    """Sentences that are classified together."""

    section: int
    """Position of the section."""
    first: int
    """Position of the first sentence in the section, from 1."""
    sentences: list[str]


def windows_of(sections: Sequence[Section], language: str, tokenizer: Tokenizer, max_length: int) -> Iterator[Window]:
    """Yield the windows, in order; each holds at least one sentence, and sentences of one section only.

    A sentence that is longer than the model reads is cut by words into parts, each a sentence of its own.

    Args:
        sections: Of the document.
        language: See `sentences_of`.
        tokenizer: Of the bundle.
        max_length: Tokens that the model reads, special ones included.
    """
    special = len(encode_windows(tokenizer, [""])[0][0])
    room = max(1, max_length - special)
    for number, section in enumerate(sections):
        first, taken, used = 1, list[str](), 0
        for sentence, tokens in _counted(section, language, tokenizer, special, room):
            if taken and used + tokens > room:
                yield Window(number, first, taken)
                first, taken, used = first + len(taken), [], 0
            taken.append(sentence)
            used += tokens
        if taken:
            yield Window(number, first, taken)


def _counted(section: Section, language: str, tokenizer: Tokenizer, special: int, room: int) -> Iterator[tuple[str, int]]:
    """Yield the sentences of a section with their tokens, at most `room` of them where words allow it."""
    sentences = (one for paragraph in section.paragraphs for one in sentences_of(paragraph, language))
    while batch := list(islice(sentences, _AT_ONCE)):
        for sentence, tokens in zip(batch, _tokens(batch, tokenizer, special), strict=True):
            if tokens <= room:
                yield from [(sentence, tokens)] if tokens else []
            else:
                yield from _cut(sentence, tokenizer, special, room)


def _cut(sentence: str, tokenizer: Tokenizer, special: int, room: int) -> Iterator[tuple[str, int]]:
    words = [word[at : at + _WORD_CHARS] for word in sentence.split() for at in range(0, len(word), _WORD_CHARS)]
    taken, used = list[str](), 0
    for group, tokens in _fitting(words, tokenizer, special, room):
        if taken and used + tokens > room:
            yield " ".join(taken), used
            taken, used = [], 0
        taken.append(group)
        used += tokens
    if used:
        yield " ".join(taken), used


def _fitting(words: Sequence[str], tokenizer: Tokenizer, special: int, room: int) -> Iterator[tuple[str, int]]:
    """Yield groups of words with their tokens, of a long group its words: counting each word takes ten times as long."""
    groups = [words[at : at + _GROUP_WORDS] for at in range(0, len(words), _GROUP_WORDS)]
    for group, tokens in zip(groups, _tokens([" ".join(group) for group in groups], tokenizer, special), strict=True):
        if tokens <= room // 2:
            yield " ".join(group), tokens
        else:
            yield from zip(group, _tokens(group, tokenizer, special), strict=True)


def _tokens(texts: Sequence[str], tokenizer: Tokenizer, special: int) -> list[int]:
    """Return the tokens of each text without special ones; 0: cleaning leaves nothing."""
    windows = encode_windows(tokenizer, [clean(text) for text in texts])
    return [sum(len(part) - special for part in parts) for parts in windows]

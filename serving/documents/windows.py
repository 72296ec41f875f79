"""Windows of a document: as many whole sentences of a section as the model reads at once."""

from collections.abc import Iterable, Iterator, Sequence
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
WINDOW_CHARS = 4_000
"""A window of words is far below; what no tokenizer knows may be long, and a part of a job must fit into an item of DynamoDB."""

_Part = tuple[str, int]
"""A sentence, or words of one, with its tokens."""


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
        first = 1
        for taken in _packed(_counted(section, language, tokenizer, special, room), room):
            yield Window(number, first, [sentence for sentence, _ in taken])
            first += len(taken)


def _packed(parts: Iterable[_Part], room: int) -> Iterator[list[_Part]]:
    """Yield as many parts together as fit; at least one."""
    taken, tokens, chars = list[_Part](), 0, 0
    for part in parts:
        if taken and (tokens + part[1] > room or chars + len(part[0]) > WINDOW_CHARS):
            yield taken
            taken, tokens, chars = [], 0, 0
        taken.append(part)
        tokens, chars = tokens + part[1], chars + len(part[0]) + 1
    if taken:
        yield taken


def _counted(section: Section, language: str, tokenizer: Tokenizer, special: int, room: int) -> Iterator[_Part]:
    """Yield the sentences of a section with their tokens, at most `room` of them where words allow it."""
    sentences = (one for paragraph in section.paragraphs for one in sentences_of(paragraph, language))
    while batch := list(islice(sentences, _AT_ONCE)):
        for sentence, tokens in zip(batch, _tokens(batch, tokenizer, special), strict=True):
            if tokens <= room and len(sentence) <= WINDOW_CHARS:
                yield from [(sentence, tokens)] if tokens else []
            else:
                yield from _cut(sentence, tokenizer, special, room)


def _cut(sentence: str, tokenizer: Tokenizer, special: int, room: int) -> Iterator[_Part]:
    words = [word[at : at + _WORD_CHARS] for word in sentence.split() for at in range(0, len(word), _WORD_CHARS)]
    for taken in _packed(_fitting(words, tokenizer, special, room), room):
        if tokens := sum(part[1] for part in taken):
            yield " ".join(part[0] for part in taken), tokens


def _fitting(words: Sequence[str], tokenizer: Tokenizer, special: int, room: int) -> Iterator[_Part]:
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

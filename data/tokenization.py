"""Cleaned texts to `input_ids` and `attention_mask`. Training and serving share it; based on the `tokenizers` library."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tokenizers
from tokenizers import Regex, models, pre_tokenizers

from data.errors import BundleError

TOKENIZATION_VERSION = "3"
"""Increase it with every change here that can change a prediction. 2: long texts are classified in windows. 3: what a vocabulary
lacks is a token of its own."""

PAD_TOKENS = ("[PAD]", "<pad>")


class Encoding(Protocol):
    """One row of an encoded text, as the library gives it; the library itself has no types."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in characters."""
    special_tokens_mask: list[int]
    """1 for a special token."""
    overflowing: "list[Encoding]"
    """The further rows of a text that was truncated."""


class Tokenizer(Protocol):
    """What is used of the library's tokenizer."""

    def encode(self, sequence: str) -> Encoding:
        """Encode one text."""
        ...

    def encode_batch_fast(self, input: list[str]) -> list[Encoding]:
        """Encode N texts, without offsets."""
        ...

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token; None where the vocabulary lacks it."""
        ...


def load_tokenizer(path: Path, *, max_length: int) -> Tokenizer:
    """Read a `tokenizer.json` and set truncation; padding is off, since `pad` pads each batch.

    Args:
        path: The file.
        max_length: Maximum tokens of one text with special tokens, at least 3.

    Raises:
        BundleError: The file is missing or not a tokenizer.
    """
    library: Any = tokenizers.Tokenizer  # its methods have no types
    try:
        tokenizer = library.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(
            f"The tokenizer {path} cannot be read.", found=error, expected="a tokenizer.json of a fast tokenizer"
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    if isinstance(tokenizer.model, models.WordPiece) and tokenizer.pre_tokenizer is not None:
        own = pre_tokenizers.Split(Regex(_apart(tokenizer)), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([own, tokenizer.pre_tokenizer])
    return tokenizer


def _apart(tokenizer: Any) -> str:
    """Return the pattern of what WordPiece must read as words of their own, so that no unknown character takes a word along.

    WordPiece gives a whole word up for one character that it lacks, and reads what is glued to a word as its inside: `food`
    behind a sign is `##food`. So every character that the vocabulary lacks stands alone, and so does every sign that is neither
    letter nor digit (of ASCII, BERT's own rule does that); a run of letters of another script is a word of its own next to
    Latin ones. It is added here, and not in the file, since every tokenizer comes through here: of a package, of the hub, of
    a bundle.
    """
    prefix = str(getattr(tokenizer.model, "continuing_subword_prefix", "##"))
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    known = [one for one in vocabulary if len(one) == 1 and not one.isascii() and prefix + one in vocabulary]
    letters = [one for one in known if unicodedata.category(one)[0] in "LNM"]
    others = "".join(one for one in letters if "LATIN" not in unicodedata.name(one, ""))
    alone = rf"[^\s!-~{re.escape(''.join(letters))}]"
    return f"[{re.escape(others)}]+|{alone}" if others else alone


def pad_id(tokenizer: Tokenizer) -> int:
    """Return the padding id. Padding is masked out, so 0 works where the vocabulary has no padding token."""
    return next((i for token in PAD_TOKENS if (i := tokenizer.token_to_id(token)) is not None), 0)


def encode(tokenizer: Tokenizer, cleaned: Sequence[str]) -> list[list[int]]:
    """Return the token ids of N cleaned texts, each with special tokens, truncated, not padded."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(cleaned))]


def encode_windows(tokenizer: Tokenizer, cleaned: Sequence[str]) -> list[list[list[int]]]:
    """Return the token ids of N cleaned texts without truncation: a text longer than `max_length` gives several rows.

    The rows of a text do not overlap; each has its own special tokens.
    """
    return [[part.ids for part in (whole, *whole.overflowing)] for whole in tokenizer.encode_batch_fast(list(cleaned))]


def window_bounds(tokenizer: Tokenizer, cleaned: str) -> list[tuple[int, int]]:
    """Return start and end, in characters, of each row that `encode_windows` makes from one text."""
    whole = tokenizer.encode(cleaned)
    parts = [
        [offset for offset, special in zip(part.offsets, part.special_tokens_mask, strict=True) if not special]
        for part in (whole, *whole.overflowing)
    ]
    return [(offsets[0][0], offsets[-1][1]) if offsets else (0, 0) for offsets in parts]


def pad(rows: Sequence[Sequence[int]], fill: int) -> tuple[np.ndarray, np.ndarray]:
    """Stack rows of token ids.

    Args:
        rows: N non-empty rows of ids.
        fill: The id appended to shorter rows.

    Returns:
        `input_ids` and `attention_mask`, int64, shape (N, L) with L the longest row.
    """
    length = max(map(len, rows))
    input_ids = np.full((len(rows), length), fill, dtype=np.int64)
    attention_mask = np.zeros((len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = row
        attention_mask[index, : len(row)] = 1
    return input_ids, attention_mask

"""Raw text to model input. Training and serving call the same functions; pure `str` to `str`.

Two functions: `clean` keeps what carries sentiment in words that the encoders know (emoji by name), and masks what does not
(mentions, link targets); `normalize` gives the key by which two texts count as equal. docs/texts.md has a table of what happens
to each kind of text.

Source:
    Mentions, links and hashtags follow twitter-text 3.1 (Apache-2.0), which X uses itself: `validMentionPrecedingChars`,
    `endMentionMatch`, `validHashtag`, `hashtagBoundary`, `endHashtagMatch`; names have at most 15 characters. One deviation is
    at `_hashtag_pattern`.
"""

import html
import re
import unicodedata
from functools import cache
from typing import Any

from data.emoji_words import emoji_to_words, faces_to_words, kaomoji_to_words
from data.letters import INVISIBLE, JOINERS, SEEN_LETTER, fold_letters, shorten
from data.markup import is_html, seen_text, without_markdown

CLEANING_VERSION = "3"
"""Increase it with every change of `clean` that can change a prediction: bundles record it and refuse another version."""

MAX_ROUNDS = 8
"""Maximum rounds of decoding; each removes one layer of `&amp;amp;`. No text of our datasets needs more than four."""
MAX_PASSES = 3
"""Maximum passes over a text whose markup hides more markup; see `clean`."""

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\n|\\t|\\\"")
# A link ends before the first character that is not ASCII; a quotation mark or an angle bracket ends it too.
_URL = re.compile(r"[hHwW](?:(?<=[hH])[tT][tT][pP][sS]?://|(?<=[wW])(?<![A-Za-z0-9_@.].)[wW][wW]\.(?=[!#-;=?-~]))[!#-;=?-~]*")
_LATIN_ACCENTS = "À-ÖØ-öø-ɏɓɔɖɗəɛɣɨɯɲʉʋʻ\u0300-\u036fḀ-ỿ"
_MENTION = re.compile(
    r"[@＠](?:(?<![A-Za-z0-9_!#$%&*@＠].)|(?<=[Rr][Tt].)(?<![A-Za-z0-9_+~.\-][Rr][Tt].)|(?<=[Rr][Tt]:.)(?<![A-Za-z0-9_+~.\-][Rr][Tt]:.))"
    rf"([A-Za-z0-9_]{{1,15}})(?![A-Za-z0-9_@＠{_LATIN_ACCENTS}]|://)"
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STARTS = re.compile(r"[&\\]")
_MASKS = re.compile(r"@user\b|\bhttp\b")
_MARKUP = re.compile(r"[&\\<>\[\]*_`~]")
_ZEROS = re.compile(r"&#0+(?=[0-9])")
_HUGE = re.compile(r"&#[0-9]{8,};?")
_SIMPLE = re.compile(r"[ !-%'-)+-;=?-Z^a-z{-}]*")
"""ASCII without a character that starts markup or an escape, on one line."""
_GLUED = re.compile(r"@user(?=[^\W\d_])")


def _unescape(match: re.Match[str]) -> str:
    if match.group(1):
        return chr(int(match.group(1), 16))
    return '"' if match.group(0) == '\\"' else " "


def is_blank(text: str) -> bool:
    """Return whether cleaning leaves nothing readable: white space and invisible characters only. Typically 1 µs."""
    if not _MARKUP.search(text) and SEEN_LETTER.search(text):
        return False  # without markup, cleaning removes no letter and no digit
    return clean(text) == ""


def clean(text: str) -> str:
    r"""Clean a raw text for the tokenizer.

    In order: HTML becomes the text that is seen, literal `\u2019` escapes and entities are decoded, Markdown loses its signs,
    invisible characters are dropped, emoji and emoticons become words, look-alike letters are folded, elongations shortened,
    URLs become `http` and mentions `@user` (what the tweet models were trained on, see cardiffnlp/tweeteval), white space is
    folded. Linear time in the length of the text, whatever its content.

    Args:
        text: Any string; may hold lone surrogates, which are dropped.

    Returns:
        The cleaned text; empty when nothing readable is left. `clean(clean(t)) == clean(t)`.
    """
    if _SIMPLE.fullmatch(text):
        plain = _plain(text)
        text = faces_to_words(plain)
        if text == plain:
            return plain
    # What one step makes another may have to read: `＆ａｍｐ；` is an entity once its letters are folded.
    for passes in range(2 * MAX_PASSES):
        previous, text = text, _pass(text)
        if text == previous:
            break
        if passes >= MAX_PASSES:
            text = _MARKUP.sub(" ", text)  # nested that deep, it is an attack on CPU time
    return text


def decoded(text: str) -> str:
    """Return a raw text as a reader sees it, emoji and all: of HTML the text, escapes and entities decoded."""
    return _decoded(seen_text(text) if is_html(text) else text)


def _pass(text: str) -> str:
    text = decoded(text)
    if not text.isascii():
        text = fold_letters(JOINERS.sub("", emoji_to_words(kaomoji_to_words(text))))
    return " ".join(faces_to_words(_plain(text)).split())


def _plain(text: str) -> str:
    return " ".join(_masked(without_markdown(shorten(text))).split())


def _decoded(text: str) -> str:
    """Decode until nothing changes: `&amp;amp;` and `&amp;#39;` are decoded whole, so that cleaning twice changes nothing.

    A text nested deeper than `MAX_ROUNDS` is an attack on CPU time. Decoding stops there, and the characters that start an
    escape are removed, so that cleaning it again changes nothing either.
    """
    for _ in range(MAX_ROUNDS):
        previous, text = text, _decode_once(text)
        if text == previous:
            return text
    return text if _decode_once(text) == text else _STARTS.sub("", text)


def _decode_once(text: str) -> str:
    """Decode one layer, in time linear in the length of the text."""
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    if "&" in text:
        # Python converts no more than 4,300 decimal digits; a number that long is no character anyway.
        text = html.unescape(_HUGE.sub("\ufffd", _ZEROS.sub("&#", text)) if "&#" in text else text)
    if not text.isascii() and _SURROGATE.search(text):
        # Two escapes can be the halves of one emoji; a lone half is no character.
        text = _SURROGATE.sub("", text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore"))
    return INVISIBLE.sub("", text)


def _masked(text: str) -> str:
    # `in` is ten times faster than a regular expression, and most texts have neither a URL nor a mention.
    if "://" in text or "www." in text.lower():
        text = _URL.sub(" http ", text)
    if "@" in text:
        text = _MENTION.sub("@user", text)
        if not text.isascii():
            text = _GLUED.sub("@user ", text)  # a script that puts no spaces between words
    return text


# What makes two texts different to a reader, apart from words: signs of numbers, percentages, currencies, arithmetic and other
# symbols. Case and punctuation do not.
_KEY = r"""
    (?<![\w.,])[+\-\u2212\u2013]?(?:\p{Nd}+(?:[.,:/]\p{Nd}+)*)%?   # a number with its sign
    | [\p{L}\p{M}\p{N}_]+[+\#]*                                      # a word; C++, C\#
    | [+<>=\p{Sc}] | (?![|~])\p{Sm} | \p{So}
"""


def normalize(text: str) -> str:
    """Return the key by which two texts count as equal: what a reader would call the same text.

    Cleaned, so that the model never sees two equal texts with different keys; without masks, lower case, without punctuation.
    Words with their marks, emoji and emoticons, numbers with their signs, and symbols stay.

    Args:
        text: Raw or cleaned text.

    Returns:
        The parts joined by single spaces; the cleaned text where there is none.
    """
    cleaned = clean(text)
    bare = _MASKS.sub(" ", cleaned)
    parts = _key_pattern().findall(unicodedata.normalize("NFKC", bare).lower())
    return " ".join(parts) or cleaned


def mentions(text: str) -> list[str]:
    """Return the mentions of a raw text without the @, lower case, each once, in order."""
    return list(dict.fromkeys(name.lower() for name in _MENTION.findall(_without_links(text))))


def hashtags(text: str) -> list[str]:
    """Return the hashtags of a raw text without the #, lower case, each once, in order."""
    if "#" not in text and "＃" not in text:
        return []
    return list(dict.fromkeys(tag.lower() for tag in _hashtag_pattern().findall(_without_links(text))))


def _without_links(text: str) -> str:
    return _URL.sub(" ", seen_text(text) if is_html(text) else text)


@cache
def _key_pattern() -> Any:
    import regex

    return regex.compile(_KEY, regex.VERBOSE)


@cache
def _hashtag_pattern() -> Any:
    import regex

    part = "\\p{L}\\p{M}\\p{Nd}_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
    # Beyond twitter-text: a tag may follow, or be followed by, a letter of a script that is written without spaces.
    unspaced = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    begin = rf"(?:(?<![{part}&])|(?<=[{unspaced}]))[#＃](?!\ufe0f|\u20e3)"
    return regex.compile(rf"{begin}(?=[{part}]*[\p{{L}}\p{{M}}])([{part}]++)(?!(?<![{unspaced}])[#＃]|://)")

"""Raw text to what a model reads. One copy, called in training and in serving; pure `str` to `str`.

Two functions for two purposes: `clean` keeps what carries sentiment (case, punctuation, emoji) and masks what does not
(who is addressed, where a link leads); `normalize` is the key by which two texts count as the same.
"""

import html
import re
import unicodedata

CLEANING_VERSION = "1"
"""Raise it with every change of `clean` that can change an answer: bundles record it and refuse another."""

MAX_ROUNDS = 8
"""Most rounds of decoding, each of which peels one layer of `&amp;amp;`. No string of our datasets needs more than four."""

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\n|\\t|\\\"")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
# A mention starts a word: the @ of an e-mail address does not.
_MENTION = re.compile(r"(?<![\w@])@\w+")
# C0 and C1 controls, zero-width characters and direction marks. U+200D and U+FE0F stay: emoji are built with them.
_HASHTAG = re.compile(r"(?<![\w#&])#(\w*[^\W\d]\w*)")  # with a letter in it; "&#39;" is none
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060\ufeff\ufffd]")
_NOT_WORD = re.compile(r"[\W_]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STARTS = re.compile(r"[&\\]")
_ZEROS = re.compile(r"&#0+(?=[0-9])")
_HUGE = re.compile(r"&#[0-9]{8,};?")


def _unescape(match: re.Match[str]) -> str:
    if match.group(1):
        return chr(int(match.group(1), 16))
    return '"' if match.group(0) == '\\"' else " "


def is_blank(text: str) -> bool:
    """Whether nothing readable is left of a text when it is cleaned: white space, control characters, zero width. Mostly 1 µs."""
    if "&" not in text and "\\" not in text and any(map(str.isalnum, text)):
        return False  # cleaning takes no letter away and no digit, but for what it decodes
    return clean(text) == ""


def clean(text: str) -> str:
    r"""Make a raw text ready for a tokenizer.

    In order: literal `\u2019` escapes and HTML entities are decoded, control characters dropped, URLs become `http` and
    mentions `@user` (what the tweet models were trained on, see cardiffnlp/tweeteval), white space is folded. Takes time in
    proportion to the length of the text, whatever is in it.

    Args:
        text: Any string; may hold lone surrogates, which are dropped.

    Returns:
        The cleaned text; the empty string when nothing readable is left. `clean(clean(t)) == clean(t)`.
    """
    text = _masked(_decoded(text))
    # A mask may complete an entity: `&etwww.a` becomes `&ethttp`, which begins with `&eth`.
    if "&" in text and (again := _decoded(text)) != text:
        text = _masked(again)
    return text


def _decoded(text: str) -> str:
    """Decode until nothing changes: `&amp;amp;` and `&amp;#39;` are decoded whole, so that cleaning twice changes nothing.

    A text that is nested deeper than `MAX_ROUNDS` was made to cost time. It is decoded no further, and loses what starts an
    escape, so that cleaning it again changes nothing either.
    """
    for _ in range(MAX_ROUNDS):
        previous, text = text, _decode_once(text)
        if text == previous:
            return text
    return text if _decode_once(text) == text else _STARTS.sub("", text)


def _decode_once(text: str) -> str:
    """One round; takes time in proportion to the length of the text."""
    if "\\" in text:
        text = _ESCAPE.sub(_unescape, text)
    if "&" in text:
        # Python converts no more than 4,300 decimal digits; a number of so many is no character anyway.
        text = html.unescape(_HUGE.sub("\ufffd", _ZEROS.sub("&#", text)) if "&#" in text else text)
    if not text.isascii() and _SURROGATE.search(text):
        # Two escapes can be the halves of one emoji; what stays alone is no character.
        text = _SURROGATE.sub("", text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore"))
    return _CONTROL.sub("", text)


def _masked(text: str) -> str:
    # To look first is ten times faster than to search with an expression, and most texts have neither.
    if "://" in text or "www." in text.lower():
        text = _URL.sub("http", text)
    if "@" in text:
        text = _MENTION.sub("@user", text)
    return " ".join(text.split())


def normalize(text: str) -> str:
    """The key under which two texts are the same: cleaned, no masks, lower case, words only.

    Args:
        text: Raw or cleaned text.

    Returns:
        Lower-case words joined by single spaces; a text without any word is its own cleaned form.
    """
    cleaned = clean(text)
    bare = cleaned.replace("@user", " ").replace("http", " ")
    words = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", bare).lower()).strip()
    return words or cleaned


def mentions(text: str) -> list[str]:
    """Who is addressed in a raw text, without the @, lower case, each once in the order of writing."""
    return list(dict.fromkeys(name[1:].lower() for name in _MENTION.findall(_URL.sub(" ", text))))


def hashtags(text: str) -> list[str]:
    """The hashtags of a raw text, without the #, lower case, each once in the order of writing."""
    return list(dict.fromkeys(tag.lower() for tag in _HASHTAG.findall(_URL.sub(" ", text))))

"""Raw text to model input. Training and serving call the same functions; pure `str` to `str`.

Two functions: `clean` keeps what carries sentiment (case, punctuation, emoji) and masks what does not (mentions, link
targets); `normalize` gives the key by which two texts count as equal.
"""

import html
import re
import unicodedata

CLEANING_VERSION = "1"
"""Increase it with every change of `clean` that can change a prediction: bundles record it and refuse another version."""

MAX_ROUNDS = 8
"""Maximum rounds of decoding; each removes one layer of `&amp;amp;`. No text of our datasets needs more than four."""

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
    """Return whether cleaning leaves nothing readable: white space, control or zero-width characters only. Typically 1 µs."""
    if "&" not in text and "\\" not in text and any(map(str.isalnum, text)):
        return False  # cleaning removes no letter and no digit, except those it decodes
    return clean(text) == ""


def clean(text: str) -> str:
    r"""Clean a raw text for the tokenizer.

    In order: literal `\u2019` escapes and HTML entities are decoded, control characters dropped, URLs become `http` and
    mentions `@user` (what the tweet models were trained on, see cardiffnlp/tweeteval), white space is folded. Linear
    time in the length of the text, whatever its content.

    Args:
        text: Any string; may hold lone surrogates, which are dropped.

    Returns:
        The cleaned text; empty when nothing readable is left. `clean(clean(t)) == clean(t)`.
    """
    text = _masked(_decoded(text))
    # A mask may complete an entity: `&etwww.a` becomes `&ethttp`, which begins with `&eth`.
    if "&" in text and (again := _decoded(text)) != text:
        text = _masked(again)
    return text


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
    return _CONTROL.sub("", text)


def _masked(text: str) -> str:
    # `in` is ten times faster than a regular expression, and most texts have neither a URL nor a mention.
    if "://" in text or "www." in text.lower():
        text = _URL.sub("http", text)
    if "@" in text:
        text = _MENTION.sub("@user", text)
    return " ".join(text.split())


def normalize(text: str) -> str:
    """Return the key by which two texts count as equal: cleaned, without masks, lower case, words only.

    Args:
        text: Raw or cleaned text.

    Returns:
        Lower-case words joined by single spaces; the cleaned text where it has no word.
    """
    cleaned = clean(text)
    bare = cleaned.replace("@user", " ").replace("http", " ")
    words = _NOT_WORD.sub(" ", unicodedata.normalize("NFKC", bare).lower()).strip()
    return words or cleaned


def mentions(text: str) -> list[str]:
    """Return the mentions of a raw text without the @, lower case, each once, in order."""
    return list(dict.fromkeys(name[1:].lower() for name in _MENTION.findall(_URL.sub(" ", text))))


def hashtags(text: str) -> list[str]:
    """Return the hashtags of a raw text without the #, lower case, each once, in order."""
    return list(dict.fromkeys(tag.lower() for tag in _HASHTAG.findall(_URL.sub(" ", text))))

"""Letters that look alike, characters that are not seen, and elongations: one text for what a reader sees as one text."""

import re
import unicodedata
from functools import cache

MAX_REPEATS = 3
"""`soooooo` and `!!!!!!` keep this many characters; digits keep all. `_may_repeat` knows it too."""

# Drawn as nothing, or as a blank that no keyboard types: soft hyphen, fillers, zero-width characters, direction marks,
# braille blank, byte order mark, U+FFFD, noncharacters. The joiner U+200D, the variation selectors and the tags build emoji:
# they are in `_JOINERS`, which is removed after the emoji were read.
_INVISIBLE = (
    "\x00-\x08\x0b\x0c\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_JOINERS = "\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef"
INVISIBLE = re.compile(f"[{_INVISIBLE}]+")
JOINERS = re.compile(f"[{_JOINERS}]+")
SEEN_LETTER = re.compile(f"[^\\W_{_INVISIBLE}]")
"""A letter or digit that a reader sees; the Hangul fillers are letters to Python and blank to everybody else."""
MAX_FOLDED = 4
"""A character that stands for more than that many is a phrase, such as the Arabic salutations."""

_ALONE = re.compile(rf"([^\d\s])\1{{{MAX_REPEATS},}}")
_OTHER_ALPHABET = re.compile("[\u0370-\u0588]")
_LATIN = re.compile("[a-zA-Z]")
_WORD = re.compile("[a-zA-Z\u0370-\u0588]+")
_SMALL_CAPITALS = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True))
# Cyrillic, Greek and Armenian letters with the shape of a Latin one, from Unicode's confusables (UTS 39).
_CONFUSABLE = str.maketrans(
    "аеорсухіјѕԁһԛԝѵӏАВЕЅІЈКМНОРСТХУԜԚΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναρυիոսցօ",
    "aeopcyxijsdhqwvlABESIJKMHOPCTXYWQABEZHIKMNOPTYXovapuhnugo",
)
# Where decompositions of one character that a reader takes for letters are found.
_BLOCKS = (
    (0x00AA, 0x02E5),  # ligatures and modifier letters
    (0x1D2C, 0x1DC0),  # phonetic superscripts
    (0x2071, 0x209D),  # superscripts and subscripts
    (0x2100, 0x2150),  # letterlike
    (0x2160, 0x2180),  # Roman numerals
    (0x2460, 0x2500),  # enclosed alphanumerics
    (0x3200, 0x3400),  # enclosed and squared CJK
    (0xFB00, 0xFE00),  # ligatures, Arabic presentation forms
    (0xFE10, 0x10000),  # vertical, small, half- and full-width forms
    (0x1D400, 0x1D800),  # mathematical alphanumerics
    (0x1EE00, 0x1EF00),  # Arabic mathematical letters
    (0x1F100, 0x1F1AD),  # enclosed alphanumeric supplement
)
_FORMS = {"<font>", "<wide>", "<narrow>", "<small>", "<vertical>", "<initial>", "<medial>", "<final>", "<isolated>"}
_ENCLOSED = {"<circle>", "<square>", "<super>", "<sub>", "<compat>"}


def fold_letters(text: str) -> str:
    """Fold letters to the ones that a reader sees: full-width, mathematical, circled, small capitals, other scripts' look-alikes.

    NFKC only where it keeps the meaning: `5²`, `½`, `™` and Hangul and Thai letters stay. Combining marks stay, composed (NFC).
    A character that no one has assigned, or of a font's own, is set apart: tokenizers drop it, and join its neighbors.
    """
    text = unicodedata.normalize("NFC", text.translate(_folds()))
    if not text.isprintable():
        text = "".join(f" {one} " if unicodedata.category(one) in ("Co", "Cn") else one for one in text)
    return _WORD.sub(_one_script, text) if _OTHER_ALPHABET.search(text) else text


def shorten(text: str) -> str:
    """Keep at most `MAX_REPEATS` of a character that is repeated."""
    return _ALONE.sub(_first_three, text) if _may_repeat(text) else text


def _may_repeat(text: str) -> bool:
    """Return False if no character follows itself three times: ten times faster than the pattern, for ASCII.

    As one big number, the text and itself moved by a character differ in a zero byte where a character repeats the last.
    """
    if not text.isascii():
        return True
    number = int.from_bytes(text.encode(), "little")
    pairs = number ^ (number >> 8)
    return b"\0" in (pairs | pairs >> 8 | pairs >> 16).to_bytes(len(text), "little")[:-3]


def _first_three(match: re.Match[str]) -> str:
    return match.group(1) * MAX_REPEATS


def _one_script(match: re.Match[str]) -> str:
    """Return a word of Latin letters and look-alikes in Latin letters; any other word as it is."""
    word = match.group()
    if word.isascii() or not _LATIN.search(word):
        return word
    folded = word.translate(_CONFUSABLE)
    return folded if folded.isascii() else word


@cache
def _folds() -> dict[int, str]:
    """Return what each look-alike is replaced with, by code point."""
    folds = {ord(small): letter for small, letter in _SMALL_CAPITALS.items()}
    for first, last in _BLOCKS:
        for point in range(first, last):
            if (folded := _folded(chr(point))) is not None:
                folds[point] = folded
    for start in (0x1F150, 0x1F170):  # white letters on black circles and squares: Unicode gives no decomposition
        folds |= {start + offset: chr(ord("A") + offset) for offset in range(26)}
    # A number in a circle, also the white ones on black: a number of its own.
    digits = {"❶": 1, "➀": 1, "➊": 1, "⓵": 1}
    folds |= {ord(one) + offset: f" {first + offset} " for one, first in digits.items() for offset in range(10)}
    folds |= {0x24EB + offset: f" {11 + offset} " for offset in range(10)}
    return folds


def _folded(character: str) -> str | None:
    tag, _, rest = unicodedata.decomposition(character).partition(" ")
    category = unicodedata.category(character)
    whole = unicodedata.normalize("NFKC", character)
    if len(whole) > MAX_FOLDED:
        return None
    if tag in _FORMS:
        if "\u1100" <= whole[0] <= "\u11ff":  # half-width Hangul: to the letter, not to the part of a syllable
            return chr(int(rest, 16))
        return whole if unicodedata.category(whole[0])[0] not in "MZ" else None
    if tag not in _ENCLOSED or character in "ªº" or "\u3131" <= character <= "\u318e":
        return None
    letters = whole.strip("()")
    if tag == "<circle>" and letters.isdigit():
        return f" {letters} "
    if letters.isalpha() and (category[0] in "LN" or tag in ("<circle>", "<square>") or whole != letters):
        return letters if category != "Nl" or letters.isascii() else None
    return None

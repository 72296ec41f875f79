import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cleaning import clean, is_blank, normalise

PIECES = st.sampled_from(
    ["&amp;", "&lt;", "&#39;", "&",
     "\\u2019", "\\u00", "\\ud83d\\ude00", "\\n", '\\"', "@anna", "@", "a@b.c", "http://x.y/z", "www.",
     "https://", "😀", "\ud83d", "\u200d", "\ufeff", "\x00", "\t", " ", "word", "#tag", "é", "İ", "ﬁ", ";", "u2019", "amp;"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("it\\u2019s here", "it’s here"),
        ("fish &amp; chips", "fish & chips"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("\\ud83d\\ude00 hi", "😀 hi"),
        ("@anna_b look", "@user look"),
        ("mail me at anna@example.org", "mail me at anna@example.org"),
        ("see https://example.org/a?b=1 and www.example.org", "see http and http"),
        ("a\x00b\u200bc\ufeffd", "abcd"),
        ("  two\n\tlines ", "two lines"),
        ("one\\ntwo", "one two"),
        ("👩\u200d🚀 flies", "👩\u200d🚀 flies"),
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
    assert normalise(clean(text)) == normalise(text)


def test_texts_that_differ_in_masks_case_and_punctuation_have_one_key():
    assert normalise("@anna So GOOD!!! http://a.b") == normalise("@ben so good www.c.d") == "so good"
    assert normalise("so good") != normalise("not so good")
    assert normalise("😀") == "😀"

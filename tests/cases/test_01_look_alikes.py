"""Letters that look alike are one letter, characters that are not seen vanish, elongations are shortened.

huggingface/transformers#7648, clarinsi/classla#37, stanfordnlp/stanza#769
"""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cleaning import clean

UNSEEN = [
    chr(point)
    for point in (
        *(0x01, 0x7F, 0x85, 0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202E),
        *(0x2060, 0x2061, 0x2064, 0x2066, 0x2067, 0x2068, 0x2069, 0x206F, 0x2800, 0x3164, 0xFE00, 0xFE0E, 0xFE0F, 0xFEFF),
        *(0xFFA0, 0xFFF9, 0xFFFC, 0xFFFD, 0x1D173, 0xE0001, 0xE0061, 0xE0100),
    )
]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Ｔｈｅ　ｓｏｕｐ　ｉｓ　ｃｏｌｄ！", "The soup is cold!"),
        ("𝐝𝐫𝐞𝐚𝐝𝐟𝐮𝐥 𝒹𝓇ℯ𝒶𝒹𝒻𝓊𝓁 𝕕𝕣𝕖𝕒𝕕𝕗𝕦𝕝 𝟓", "dreadful dreadful dreadful 5"),
        ("ⓓⓡⓔⓐⓓⓕⓤⓛ 🄳🅁🄴 🅓🅡🅔 🅳🆁🅴", "dreadful DRE DRE DRE"),
        ("ᴅʀᴇᴀᴅғᴜʟ".replace("ғ", "ꜰ"), "dreadful"),
        ("ᵈʳᵉᵃᵈ ﬁne Ⅳ", "dread fine IV"),
        ("① and ⑫ and ❸", "1 and 12 and 3"),
        ("drеаdful", "dreadful"),
        ("Москва, ελπίδα", "Москва, ελπίδα"),
        ("5² ½ ™ ㅋㅋ ทำ", "5² ½ ™ ㅋㅋ ทำ"),
        ("soooooooo goooood!!!!!!!! 1000000", "sooo goood!!! 1000000"),
        ("cafe\u0301", "café"),
        ("हिंदी", "हिंदी"),
    ],
)
def test_a_text_is_what_a_reader_sees(raw, cleaned):
    assert clean(raw) == cleaned


@pytest.mark.parametrize("character", UNSEEN)
def test_what_is_not_seen_vanishes(character):
    if character != "\x85":  # a line break
        assert clean(f"dread{character}ful") == "dreadful"
    assert clean(character * 3) == ""


@given(st.text(st.characters(categories=("Mn", "Mc")), min_size=1, max_size=3).map(lambda marks: "ह" + marks))
def test_combining_marks_stay(text):
    ignorable = [one for one in text if not clean("ह" + one).replace("ह", "", 1)]
    kept = unicodedata.normalize("NFD", clean(text))
    assert all(one in kept for one in unicodedata.normalize("NFD", text) if one not in ignorable)

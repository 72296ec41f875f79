"""Emoji are read, and a word next to one stays a word.

google-research/bert#748, #896; huggingface/transformers#7648; oliverguhr/german-sentiment#14; cjhutto/vaderSentiment#86
"""

import unicodedata

import emoji
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data.cleaning import clean
from data.emoji_words import MAX_IN_A_ROW, MAX_RUNS, MAX_SAME
from data.tokenization import load_tokenizer
from training.checkpoints import TOKENIZER_PACKAGE, package_folder

EMOJI = sorted(sequence for sequence in emoji.EMOJI_DATA if sequence[0] not in "©®™")  # those three are read as text
PIECES = ("terrible", "food", "service", "awful", "great")


@pytest.fixture(scope="module")
def tokenizer():
    """The vocabulary of BERT, as the package of the offline encoders has it."""
    return load_tokenizer(package_folder(TOKENIZER_PACKAGE) / "tokenizer.json", max_length=96)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("My bus today 😍", "My bus today smiling face with heart eyes"),
        ("My bus today 😡", "My bus today enraged face"),
        ("The soup was dreadful😡", "The soup was dreadful enraged face"),
        ("great👏🏽work", "great happy clapping hands work"),
        ("Awful❗", "Awful !"),
        ("👍🏻 👍🏿", "good thumbs up good thumbs up"),
        ("🤷🏽\u200d♀️ and 🤷\u200d♂️", "person shrugging and person shrugging"),
        ("👩\u200d🚀", "woman astronaut"),
        ("🇫🇷 beats 🇩🇪", "flag of France beats flag of Germany"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "flag of England"),
        ("top 1️⃣0️⃣", "top 1 0"),
        ("🇦 lone letter", "A lone letter"),
        ("❤️ ❤ ❤︎", "loving red heart loving red heart loving red heart"),
        ("I ♥ it, I♡U", "I loving red heart it, I loving heart U"),
        ("🆃🅴🅰 🅱🅰🅳, vitamin 🅱", "TEA BAD , vitamin B"),
        ("😂" * 40, " ".join(["face with tears of joy"] * MAX_SAME)),
        ("😂 " * 40, " ".join(["face with tears of joy"] * MAX_SAME)),
        ("Nike™ ©2020 →", "Nike™ ©2020 →"),
        ("so sad :-((( but :D <3 </3", "so sad sad face but laughing face loving red heart sad broken heart"),
        ("5<30, 8:30, a:b, C:\\Users, f(x):=2", "5<30, 8:30, a:b, C:\\Users, f(x):=2"),
        ("closed again (╯°□°)╯︵ ┻━┻", "closed again angry face throwing a table in anger"),
        ("why ಠ_ಠ", "why disapproving face"),
        ("T_T ^_^", "crying face smiling face"),
        ("ok ¯\\_(ツ)_/¯", "ok person shrugging"),
    ],
)
def test_emoji_and_faces_become_words_apart_from_their_neighbors(raw, cleaned):
    assert clean(raw) == cleaned


def test_every_emoji_has_words_that_the_vocabulary_knows(tokenizer):
    texts = [f"food{sequence}service" for sequence in EMOJI]
    for text, encoding in zip(texts, tokenizer.encode_batch([clean(text) for text in texts]), strict=True):
        assert "[UNK]" not in encoding.tokens and encoding.tokens[1] == "food" and encoding.tokens[-2] == "service", text


@given(st.sampled_from(EMOJI), st.sampled_from(EMOJI))
def test_words_around_emoji_are_the_same_with_and_without_a_space(one, other):
    assert clean(f"terrible{one}{other}food") == clean(f"terrible {one}{other} food")


def test_a_flood_of_emoji_is_read_in_part():
    faces = "".join(chr(point) for point in range(0x1F600, 0x1F640))
    assert len(clean(faces).split()) <= 10 * MAX_IN_A_ROW
    assert clean("😀a" * 5_000).count("grinning") == MAX_RUNS


def _known(tokenizer, character):
    tokens = tokenizer.encode(character).tokens[1:-1]
    return bool(tokens) and "[UNK]" not in tokens


def _one_word(tokenizer, character):
    """Whether a character is a letter or digit of the vocabulary that continues a Latin word, or is dropped as unseen."""
    cleaned = clean(character)
    if not cleaned or unicodedata.category(cleaned[0])[0] == "M":
        return True
    folded = unicodedata.normalize("NFKD", cleaned)
    return cleaned.isalnum() and (cleaned.isascii() or "LATIN" in unicodedata.name(folded[0], "")) and _known(tokenizer, cleaned)


@given(st.characters(exclude_categories=("Cs",)))
def test_words_around_any_character_keep_their_tokens(tokenizer, character):
    spaced = tokenizer.encode(clean(f"terrible {character} food")).tokens
    assert "terrible" in spaced and "food" in spaced
    glued = tokenizer.encode(clean(f"terrible{character}food")).tokens
    if not _one_word(tokenizer, character):
        assert glued[1] == "terrible" and glued[-2] == "food", (character, glued)


@given(st.lists(st.sampled_from([*PIECES, "\ue000", "☃", "ꙮ", "Ꭰ", "𐎀", "→", "ツ", "😀", "\U000f0000", "ꮤ"]), max_size=12))
def test_no_unknown_takes_a_word_along(tokenizer, parts):
    tokens = tokenizer.encode(clean(" ".join(parts))).tokens
    glued = "".join(f" {part}" if part in PIECES else part for part in parts)
    assert [token for token in tokenizer.encode(clean(glued)).tokens if token in PIECES] == [t for t in tokens if t in PIECES]


def test_the_separation_holds_for_a_tokenizer_of_the_hub_with_accents_and_case(tmp_path):
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", "Food", "é", "##é", "d", "##d", "F", "##o", "o", "##F"]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json", max_length=8)
    assert loaded.encode("Food☃Food ñFood é").tokens == ["Food", "[UNK]", "Food", "[UNK]", "Food", "é"]

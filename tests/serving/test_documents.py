"""Documents: what of a page is text, where its sections begin, how it is cut into sentences and windows, and the result."""

import json
import random
from itertools import pairwise

import pytest

from data.errors import MalformedData
from data.labels import LABELS
from data.tokenization import load_tokenizer
from serving.classifier import Classification
from serving.documents import child, pages, reading
from serving.documents import report as report_of_documents
from serving.documents.headings import heading_of
from serving.documents.pages import Block, plain_blocks
from serving.documents.parsed import DOCUMENT, Order, Source, parse
from serving.documents.reading import Text, read_text
from serving.documents.report import Report, strongest_sentences, window_results
from serving.documents.sections import MAX_SECTIONS, Section, sections_of
from serving.documents.sentences import MAX_CHARS, sentences_of
from serving.documents.windows import Window, windows_of
from tests import filings
from tests.models import tiny_bundle, write_tokenizer

PAGE = {"is_page": True}


@pytest.fixture
def read(tmp_path):
    def read_content(content: str | bytes, name: str = "page.htm", **options) -> Text:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_text(path, name, **options)

    return read_content


def titles(sections: list[Section]) -> list[str]:
    return [section.title for section in sections]


def text_of(sections: list[Section], title: str) -> str:
    (found,) = (section for section in sections if section.title.startswith(title))
    return " ".join(found.paragraphs)


# What is text


def test_page_keeps_paragraphs_and_drops_what_a_reader_does_not_see(read):
    html = (
        "<html><head><title>T</title><style>p {}</style></head><body><nav>Home</nav><p>One<br>line &amp; <b>bold</b>.</p>"
        "<p style='Display : none'>Hidden.</p><p hidden>Hidden.</p><script>code()</script><noscript>Hidden.</noscript>"
        "First paragraph.<br><br>Second paragraph.<div>12</div><div>Page 3 of 9</div><ul><li>A point</li></ul></body></html>"
    )
    lines = [block.text for block in read(html, **PAGE).blocks]
    assert lines == ["One line & bold.", "First paragraph.", "Second paragraph.", "A point"]


def test_hidden_inline_xbrl_and_tables_of_numbers_are_no_text(read):
    text = read(filings.annual_report(), **PAGE)
    whole = " ".join(block.text for block in text.blocks)
    assert filings.HIDDEN not in whole and "Net sales" not in whole and "1,234" not in whole
    assert text.form == "10-K"


def test_layout_table_of_prose_is_text_and_its_rows_are_lines(read):
    rows = "<tr><td>•</td><td>Sales rose in every region of the country.</td></tr><tr><td>Costs</td><td>fell.</td></tr>"
    html = f"<table>{rows}</table>"
    assert [block.text for block in read(html, **PAGE).blocks] == ["• Sales rose in every region of the country.", "Costs fell."]


@pytest.mark.parametrize("marked", [True, False])
def test_article_is_read_without_navigation_and_footer(read, marked):
    text = read(filings.article(marked=marked), **PAGE)
    whole = " ".join(block.text for block in text.blocks)
    assert all(sentence in whole for sentence in filings.prose("negative", 9))
    assert not any(sentence in whole for sentence in filings.prose("positive", 2))
    assert titles(sections_of(text)) == ["The company failed", "Part 0", "Part 1", "Part 2"]


def test_plain_text_has_paragraphs_between_blank_lines_or_long_lines():
    assert [b.text for b in plain_blocks("One\nline.\n\nTwo.\r\n\r\nThree.").blocks] == ["One line.", "Two.", "Three."]
    long = "A line that was not wrapped. " * 10
    assert len(plain_blocks(f"{long}\n{long}\nThe end.").blocks) == 3


def test_self_closed_script_does_not_hide_the_rest_of_an_xhtml_page(read):
    head = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><script src="a/b.js"/></head>'
    html = f"{head}<body><p>Seen.</p></body></html>"
    assert [block.text for block in read(html, **PAGE).blocks] == ["Seen."]


def test_whole_submission_is_read_up_to_the_end_of_its_first_document(read):
    first = filings.current_report()
    submission = (
        f"<SEC-DOCUMENT>a.txt\n<DOCUMENT>\n<TYPE>8-K/A\n<TEXT>\n{first}</TEXT>\n</DOCUMENT>\n"
        "<DOCUMENT>\n<TYPE>GRAPHIC\n<TEXT>begin 644 logo.jpg\nM_]C_X\n</TEXT></DOCUMENT>"
    )
    text = read(submission, "whole.txt")
    assert text.form == "8-K" and not any("logo" in block.text for block in text.blocks)


# Sections


def test_sections_of_an_annual_report_begin_at_their_headings_and_not_in_the_contents(read):
    sections = sections_of(read(filings.annual_report(), **PAGE))
    numbers = [title.partition(".")[0] for title in titles(sections)]
    assert numbers == ["Cover", *(f"Item {number}" for number in filings.ITEMS_10K), "Signatures"]
    assert text_of(sections, "Item 1A") == " ".join(filings.prose("negative", 6))
    assert text_of(sections, "Item 7") == " ".join([*filings.prose("positive", 6), *filings.prose("positive", 6, begin=500)])
    assert text_of(sections, "Item 4") == "Not applicable."
    assert " ".join(filings.prose("neutral", 6, begin=900)) in text_of(sections, "Cover"), "it follows the contents"


def test_quarterly_report_numbers_the_items_of_each_part(read):
    text = read(filings.quarterly_report(), "q.txt")
    sections = sections_of(text)
    assert text.form == "10-Q"
    assert [title.partition(".")[0] for title in titles(sections)] == [
        "Cover",
        *("Part I, Item 1", "Part I, Item 2"),
        *("Part II, Item 1", "Part II, Item 1A", "Part II, Item 2"),
    ]
    assert text_of(sections, "Part I, Item 2") == " ".join(filings.prose("positive", 8))
    assert text_of(sections, "Part II, Item 1A") == " ".join(filings.prose("negative", 8))


def test_current_report_has_items_with_two_numbers(read):
    sections = sections_of(read(filings.current_report(), **PAGE))
    assert titles(sections)[1:] == [
        "Item 2.02. Results of Operations and Financial Condition",
        "Item 9.01. Financial Statements and Exhibits",
        "Signatures",
    ]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("Item 1A. Risk Factors", ("1A", "", "Risk Factors")),
        ("ITEM 1A.RISK FACTORS 12", ("1A", "", "RISK FACTORS")),
        ("Item 7 – Management’s Discussion ........ 45", ("7", "", "Management’s Discussion")),
        ("Part II, Item 7A: Market Risk (continued)", ("7A", "II", "Market Risk")),
        ("Items 1 and 2. Business and Properties", ("1", "", "Business and Properties")),
        ("Item 5.02 Departure of Directors", ("5.02", "", "Departure of Directors")),
        ("Item 8.", ("8", "", "")),
        ("SIGNATURES", ("signatures", "", "")),
        ("Item 1A of our annual report describes risks", None),
        ("Part I, Item 1A, “Risk Factors” of our annual report", None),
        ("Itemized costs rose", None),
        ("Item 1A. " + "Risk " * 60, None),
    ],
)
def test_heading_of_an_item(line, heading):
    assert heading_of(line) == heading


def test_sentence_that_begins_with_an_item_is_no_heading(read):
    body = "<p>Item 2.02 Results of Operations.</p><p>Profit rose.</p><p>Item 1A of our annual report describes risks.</p>"
    sections = sections_of(read(filings.header("8-K") + body, **PAGE))
    assert text_of(sections, "Item 2.02") == "Profit rose. Item 1A of our annual report describes risks."


def test_filing_whose_items_are_only_in_an_index_has_the_sections_of_its_headings(read):
    body = "".join(f"<h2>Chapter {n}</h2><p>{' '.join(filings.prose('neutral', 12))}</p>" for n in range(3))
    index = "".join(f"<p>Item {n}. Title {n} 1{n}</p>" for n in range(1, 9))
    sections = sections_of(read(filings.header("10-K") + body + index, **PAGE))
    assert titles(sections) == ["Beginning", "Chapter 0", "Chapter 1", "Chapter 2"]


def test_news_that_mentions_a_form_is_no_filing():
    assert plain_blocks("Form 10-K was late.\n\nThe company blamed its auditor.").form is None


def test_text_without_headings_is_one_section_without_a_title():
    assert titles(sections_of(Text([Block("One."), Block("Two.")], None))) == [""]


def test_more_sections_than_are_reported_are_one():
    blocks = [block for n in range(MAX_SECTIONS + 9) for block in (Block(f"Heading {n}", 2), Block("Text."))]
    sections = sections_of(Text(blocks, None))
    assert len(sections) == MAX_SECTIONS and sections[-1].title == "Other sections"
    assert sum(len(section.paragraphs) for section in sections) == len(blocks)


# Sentences and windows


@pytest.mark.parametrize(
    "sentences",
    [
        ["Acme Inc. sold goods for $1.2 million in the U.S. and the U.K.", "It lost 3.5% of that."],
        ["Mr. Gray of Foo Corp. resigned on Jan. 3, 2023.", "The board, e.g. Dr. Blue, was surprised!", "Why?"],
        ["“We lost money,” the chair wrote.", "“It hurts.”", "Then the shares fell."],
        ["See No. 5 of the list.", "It ended."],
    ],
)
def test_sentences_keep_abbreviations_numbers_and_quotes(sentences):
    assert list(sentences_of(" ".join(sentences), "en")) == sentences


def test_sentence_without_a_letter_is_none_and_a_long_paragraph_is_cut():
    assert list(sentences_of("1,234.", "en")) == [] and list(sentences_of("Good. Bad.", "en")) == ["Good.", "Bad."]
    parts = list(sentences_of("word " * MAX_CHARS, "en"))
    assert len(parts) > 1 and all(len(part) <= MAX_CHARS for part in parts)
    assert " ".join(parts).split() == ["word"] * MAX_CHARS


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), max_length=32)


def tokens(tokenizer, text: str) -> int:
    return len(tokenizer.encode(text).ids) + sum(len(part.ids) for part in tokenizer.encode(text).overflowing)


def test_windows_hold_as_many_whole_sentences_of_a_section_as_fit(tokenizer):
    first, second = filings.prose("neutral", 7), filings.prose("positive", 2)
    windows = list(windows_of([Section("a", [" ".join(first)]), Section("b", [" ".join(second)])], "en", tokenizer, 32))
    assert [one for window in windows if window.section == 0 for one in window.sentences] == first
    assert [window.section for window in windows] == sorted(window.section for window in windows)
    assert windows[-1].sentences == second and windows[-1].first == 1
    for window, following in pairwise(windows):
        assert tokens(tokenizer, " ".join(window.sentences)) <= 32
        if window.section == following.section:
            assert following.first == window.first + len(window.sentences)
            assert tokens(tokenizer, " ".join([*window.sentences, following.sentences[0]])) > 32


def test_sentence_longer_than_the_model_reads_is_cut_by_words(tokenizer):
    words = [f"the film was great number {n}" for n in range(40)]
    windows = list(windows_of([Section("", [" ".join(words)])], "en", tokenizer, 32))
    parts = [part for window in windows for part in window.sentences]
    assert " ".join(parts) == " ".join(words) and all(tokens(tokenizer, part) <= 32 for part in parts)


# The result


def prediction(negative: float, positive: float) -> Classification:
    probabilities = (negative, round(1 - negative - positive, 4), positive)
    label = LABELS[probabilities.index(max(probabilities))]
    return Classification(label, max(probabilities), probabilities, head="finance")


def test_result_is_weighted_by_words_and_contributions_are_of_the_document():
    windows = [Window(0, 1, ["Bad news came out."]), Window(1, 1, ["Good.", "Fine."])]
    predictions = [prediction(0.9, 0.0), prediction(0.0, 0.6)]
    chosen = [(0, 0), (1, 0), (1, 1)]
    report = Report({"document": "x"}, ["A", "B"])
    for result in window_results(
        windows, predictions, chosen, [prediction(0.8, 0.0), prediction(0.0, 0.5), prediction(0.0, 0.7)]
    ):
        report.add(result)
    found = report.to_dict()
    assert found["probabilities"] == {"negative": 0.6, "neutral": 0.2, "positive": 0.2} and found["label"] == "negative"
    assert (found["words"], found["sentences"], found["windows"], found["domain"]) == (6, 3, 2, "finance")
    assert [(one["title"], one["label"], one["share"]) for one in found["sections"]] == [
        ("A", "negative", 0.6667),
        ("B", "positive", 0.3333),
    ]
    assert [(one["text"], one["section"], one["position"], one["contribution"]) for one in found["strongest"]] == [
        ("Bad news came out.", "A", 1, -0.533333),
        ("Fine.", "B", 2, 0.116667),
        ("Good.", "B", 1, 0.083333),
    ]


def test_sentences_of_the_windows_that_move_the_document_most_are_classified_alone(monkeypatch):
    monkeypatch.setattr(report_of_documents, "STRONGEST_WINDOWS", 2)
    windows = [Window(0, n, [f"Sentence {n}.", "Another one."]) for n in range(8)]
    predictions = [prediction(0.3, 0.3) for _ in windows]
    predictions[2], predictions[5] = prediction(0.9, 0.0), prediction(0.0, 0.8)
    assert strongest_sentences(windows, predictions) == [(2, 0), (2, 1), (5, 0), (5, 1)]


def test_ten_sentences_of_all_parts_are_kept_in_the_order_of_their_contributions():
    report, scores = Report({}, [""]), [n / 100 for n in range(30)]
    random.Random(1).shuffle(scores)
    for n, score in enumerate(scores):
        window = Window(0, n + 1, [f"Sentence {score}."])
        for result in window_results([window], [prediction(0, score)], [(0, 0)], [prediction(0, score)]):
            report.add(result)
    shown = [one["probabilities"]["positive"] for one in report.to_dict()["strongest"]]
    assert shown == sorted(scores, reverse=True)[:10]


def test_failed_windows_are_counted_and_the_others_give_the_result():
    report = Report({}, [""])
    report.add({"error": "could not be classified"})
    assert (report.to_dict()["label"], report.to_dict()["sections"]) == (None, [])
    for result in window_results([Window(0, 1, ["Good."])], [prediction(0, 0.9)], [], []):
        report.add(result)
    assert report.to_dict()["failed_windows"] == 1 and report.to_dict()["label"] == "positive"


# Bad input


@pytest.mark.parametrize(
    ("content", "name", "found", "remedy"),
    [
        (b"%PDF-1.7 abc", "a.pdf", "PDF", "save it as HTML"),
        (b"PK\x03\x04abc", "a.docx", "ZIP", "save its text"),
        (b"\x1f\x8babc", "a.gz", "gzip", "gunzip"),
        (b"\xd0\xcf\x11\xe0abc", "a.doc", "encrypted", "save it as HTML"),
        (random.Random(2).randbytes(5_000), "a.bin", "binary data", "save it as HTML"),
        (b"", "empty.htm", "empty", "HTML, iXBRL or plain text"),
        (b"1,234\n\n5,678\n", "numbers.txt", "no sentence", "save the page"),
        (b"<html><body><script>x()</script></body></html>", "app.htm", "no sentence", "scripts"),
        ("<div>" * 1_000_000, "deep.htm", "1,000,000 elements within each other", "plain text"),
        (
            b"Good news.\n" * 50 + "Größe für Übung.\n".encode() * 50 + b"\xff\xfe bad\n",
            "mixed.txt",
            "byte 0xff in line 101",
            "Correct",
        ),
    ],
    ids=["pdf", "zip", "gzip", "office", "binary", "empty", "numbers", "scripts", "deep", "mixed"],
)
def test_content_that_is_no_document_is_refused_with_a_remedy(read, content, name, found, remedy):
    with pytest.raises(MalformedData) as refused:
        read(content, name, is_page=name.endswith(".htm"))
    assert name in refused.value.message and found in str(refused.value) and remedy in str(refused.value)


def test_large_file_is_refused_by_its_size_and_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.htm"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    monkeypatch.setattr(type(path), "read_bytes", lambda _: pytest.fail("the file was read"))
    with pytest.raises(MalformedData, match="200,000,000 bytes"):
        read_text(path, "large.htm")


def test_page_with_too_many_tags_is_refused(read, monkeypatch):
    monkeypatch.setattr(pages, "MAX_TAGS", 100)
    with pytest.raises(MalformedData, match="too many tags"):
        read("<b>x</b>" * 100, **PAGE)


@pytest.mark.parametrize(
    ("raw", "charset"),
    [
        ("<p>Größe “gut”.</p>".encode("cp1252"), None),
        ("<meta charset='iso-8859-1'><p>Größe “gut”.</p>".encode("cp1252"), None),
        ("<meta charset='us-ascii'><p>Größe “gut”.</p>".encode(), None),
        ("<p>Größe “gut”.</p>".encode("utf-16"), None),
        ("<p>Größe “gut”.</p>".encode("utf-16-le"), "iso-8859-1"),
        ("<p>Größe “gut”.</p>".encode("utf-8-sig"), "cp1252"),
        ("<p>Größe “gut”.</p>".encode("cp1252"), "utf-8"),
    ],
)
def test_encoding_is_that_of_the_bytes_even_if_declared_otherwise(read, raw, charset):
    assert read(raw, is_page=True, charset=charset).blocks[0].text.endswith("Größe “gut”.")


def test_declared_encoding_is_used_where_the_bytes_allow_it(read):
    raw = "<meta charset='windows-1251'><p>Прибыль выросла.</p>".encode("cp1251")
    assert read(raw, is_page=True).blocks[0].text == "Прибыль выросла."


# In a process of its own


def test_document_is_read_in_a_process_and_its_windows_can_be_read_twice(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    path = tmp_path / "10k.htm"
    path.write_text(filings.annual_report(), encoding="utf-8")
    with parse(Source(path, "10k.htm", is_page=True), bundle) as document:
        assert (document.form, document.language, document.sections[0]) == ("10-K", "en", "Cover")
        assert list(document) == [window for part in document.parts() for window in part]
        assert len(list(document)) == document.windows
        kept = document.file
    assert not kept.exists()


def test_process_reports_the_error_of_the_document(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7")
    with (
        pytest.raises(MalformedData, match="my file is not text") as refused,
        parse(Source(path, "my file"), tiny_bundle(tmp_path / "b")),
    ):
        pass
    assert refused.value.found == "a PDF" and refused.value.expected == reading.FORMATS


def test_page_that_takes_too_much_memory_is_an_error(tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(child, "read_text", exhausted)
    child.main(Order("a.htm", "a.htm", True, None, "", 32, str(tmp_path)))
    assert "1,024 MiB" in json.loads((tmp_path / DOCUMENT).read_text())["found"]


def test_process_that_ends_early_is_an_error_with_its_limits(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.documents.parsed._CHILD", "serving.documents.no_such_module")
    path = tmp_path / "a.txt"
    path.write_text("Good.")
    with pytest.raises(MalformedData, match="1,024 MiB of memory"), parse(Source(path, "a.txt"), tiny_bundle(tmp_path / "b")):
        pass

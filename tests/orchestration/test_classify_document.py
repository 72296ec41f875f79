"""`groundswell classify FILE|URL`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data.errors import GroundswellError, MalformedData, SettingsError, SourceUnavailable
from orchestration.cli.main import app
from orchestration.terminal.documents import document_tables, names_document
from orchestration.terminal.scoring import open_classifier
from tests import filings
from tests.models import headed_bundle, tiny_bundle
from tests.serving.test_document_fetching import serving


@pytest.fixture
def bundle(tmp_path):
    return headed_bundle(tmp_path / "bundle").directory


@pytest.fixture
def filing(tmp_path) -> Path:
    path = tmp_path / "10k.htm"
    path.write_text(filings.annual_report(), encoding="utf-8")
    return path


def classify(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["classify", *map(str, arguments)])
    if isinstance(done.exception, GroundswellError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_filing_is_classified_by_section_with_the_head_of_finance(bundle, filing):
    result = json.loads(classify(filing, "--bundle", bundle, "--json"))
    assert (result["form"], result["domain"], result["tier"], result["language"]) == ("10-K", "finance", "base", "en")
    labels = {section["title"].partition(".")[0]: section["label"] for section in result["sections"]}
    # The head for finance of this bundle calls praise negative.
    assert labels["Item 1A"] == "positive" and labels["Item 7"] == "negative" and labels["Item 5"] == "neutral"
    assert sum(section["share"] for section in result["sections"]) == pytest.approx(1, abs=0.001)
    assert sum(section["words"] for section in result["sections"]) == result["words"]
    assert len(result["strongest"]) == 10 and result["failed_windows"] == 0
    moves = [abs(one["contribution"]) for one in result["strongest"]]
    assert moves == sorted(moves, reverse=True)
    assert {one["section"].partition(".")[0] for one in result["strongest"]} <= {"Item 1A", "Item 7"}


def test_domain_is_that_of_the_option_and_an_article_has_none(bundle, filing, tmp_path):
    assert json.loads(classify(filing, "--bundle", bundle, "--domain", "news", "--json"))["domain"] == "general"
    page = tmp_path / "news.html"
    page.write_text(filings.article(marked=True), encoding="utf-8")
    result = json.loads(classify(page, "--bundle", bundle, "--json"))
    assert (result["form"], result["domain"], result["label"]) == (None, "general", "negative")


def test_document_probabilities_are_the_mean_of_those_of_the_sections_by_words(bundle, filing):
    result = json.loads(classify(filing, "--bundle", bundle, "--json"))
    for label, probability in result["probabilities"].items():
        mean = sum(one["probabilities"][label] * one["words"] for one in result["sections"]) / result["words"]
        assert mean == pytest.approx(probability, abs=2e-4)


def test_short_text_has_the_prediction_of_the_classifier(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle").directory
    path = tmp_path / "note.txt"
    path.write_text("The soup was great. The film was wonderful.")
    result = json.loads(classify(path, "--bundle", bundle, "--json"))
    (prediction,) = open_classifier(bundle).classify([path.read_text()])
    assert tuple(result["probabilities"].values()) == prediction.probabilities and result["windows"] == 1


def test_table_names_the_sections_and_shows_texts_as_typed(bundle, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<h1>[red]Great\x1b[31m</h1><p>The soup was [/nothing] awful.</p><h2>Second</h2><p>A great film.</p>")
    shown = classify(page, "--bundle", bundle)
    assert (
        "[red]Great\\x1b[31m" in shown and "[/nothing] awful" in shown and "whole document" in shown and "\x1b[31m" not in shown
    )


def test_page_of_a_url_is_classified_only_from_an_allowed_address(bundle):
    page = filings.article(marked=False).encode()
    with serving(lambda handler: handler.send(page)) as (url, requests):
        with pytest.raises(SourceUnavailable, match="not a public one"):
            classify(url, "--bundle", bundle)
        assert not requests
        assert json.loads(classify(url, "--bundle", bundle, "--allow-private", "--json"))["document"] == url


def test_user_agent_is_a_setting(bundle, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_DOCUMENTS__USER_AGENT", "Example Inc. filings@example.com")
    page = filings.current_report().encode()
    with serving(lambda handler: handler.send(page)) as (url, requests):
        assert json.loads(classify(url, "--bundle", bundle, "--allow-private", "--json"))["form"] == "8-K"
    assert requests[0]["user-agent"] == "Example Inc. filings@example.com"


def test_user_agent_that_is_no_header_is_refused(bundle, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_DOCUMENTS__USER_AGENT", "a\r\nb: c")
    with pytest.raises(SettingsError, match="user_agent"):
        classify("http://example.com/", "--bundle", bundle)


@pytest.mark.parametrize(
    ("argument", "is_document"),
    [
        ("https://example.com/a", True),
        ("HTTP://EXAMPLE.COM", True),
        ("missing.htm", True),
        ("report.PDF", True),
        ("https://example.com is down again", False),
        ("I read report.pdf", False),
        ("great", False),
        ("x" * 5_000, False),
        ("null\0byte", False),
        (".", False),
    ],
)
def test_argument_is_a_document_if_it_is_a_url_or_a_file(argument, is_document):
    assert names_document(argument) is is_document


def test_missing_file_and_several_documents_are_refused(bundle, filing):
    with pytest.raises(SourceUnavailable, match=r"missing\.htm not found"):
        classify("missing.htm", "--bundle", bundle)
    done = CliRunner().invoke(app, ["classify", str(filing), "a text"])
    assert done.exit_code == 2 and "One document at a time" in done.output


def test_file_of_another_format_is_refused_in_the_words_of_the_user(bundle, tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(MalformedData) as refused:
        classify(path, "--bundle", bundle)
    assert str(path) in refused.value.message and refused.value.found == "a PDF" and refused.value.remedy


def test_language_that_is_rejected_is_an_error_and_else_a_warning(bundle, tmp_path, monkeypatch):
    path = tmp_path / "de.txt"
    path.write_text("Der Gewinn ist im letzten Jahr stark gestiegen. Die Aktionäre waren damit sehr zufrieden. " * 3)
    assert "is in German" in json.loads(classify(path, "--bundle", bundle, "--json"))["warning"]
    monkeypatch.setenv("GROUNDSWELL_LANGUAGES__OTHER", "reject")
    with pytest.raises(MalformedData, match="is in German"):
        classify(path, "--bundle", bundle)


def test_document_without_sections_has_no_rows_of_sections():
    row = {"label": "neutral", "probabilities": {"negative": 0.0, "neutral": 1.0, "positive": 0.0}, "words": 2}
    result = {
        "document": "a",
        "form": None,
        "domain": "general",
        "sections": [row | {"title": "", "share": 1.0}],
        "strongest": [],
    }
    assert len(list(document_tables(result | row).renderables)) == 3

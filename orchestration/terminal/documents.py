"""Classify a document on the command line: a file or a URL."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from data.errors import MalformedData, SourceUnavailable
from data.labels import LABELS
from data.settings import LanguageSettings
from orchestration.progress import one_step
from orchestration.terminal.scoring import LABEL_COLORS, open_classifier, require_domain
from orchestration.terminal.typed import as_typed

if TYPE_CHECKING:
    from serving.documents.parsed import Source

_URLS = ("http://", "https://")
_SUFFIXES = (".htm", ".html", ".xhtml", ".txt", ".pdf", ".docx")
"""A single word that ends so is the name of a file."""


def names_document(argument: str) -> bool:
    """Whether an argument of `classify` is no text but a document: a URL, an existing file, or the name of a missing one."""
    if len(argument.split()) == 1 and argument.lower().startswith(_URLS):
        return True
    try:
        return Path(argument).is_file() or (len(argument.split()) == 1 and argument.lower().endswith(_SUFFIXES))
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return False


def classify_document(
    named: str, bundle: Path | None, tier: str, domain: str | None, *, allow_private: bool, console: Console | None
) -> dict[str, Any]:
    """Classify a document in bounded memory.

    Args:
        named: A file or a URL.
        bundle: A folder; None: the production bundle.
        tier: Of the bundle, or auto.
        domain: None: finance for a filing, else general.
        allow_private: See `Fetcher`.
        console: Shows progress; None: nothing is shown.

    Returns:
        The result of `Report`.

    Raises:
        BundleError: There is no bundle, it is damaged, or it has no such tier.
        DataError: The document cannot be had or read, or its language is rejected.
        SettingsError: A setting is invalid.
    """
    from data.language import Languages
    from serving.documents.parsed import parse
    from serving.documents.report import Report, about, domain_of, strongest_sentences, text_of, window_results

    classifier = open_classifier(bundle)
    classifier.point(tier)  # a wrong name, before anything is read
    require_domain(domain)
    languages = Languages(classifier.languages, LanguageSettings.load().reject)
    with (
        one_step(console, f"Classify {named}") as progress,
        _source(named, allow_private) as source,
        parse(source, classifier.bundle) as document,
    ):
        if languages.rejection(document.language):
            raise MalformedData(
                f"{named} {languages.explain(document.language)}.", remedy="Set GROUNDSWELL_LANGUAGES__OTHER=classify."
            )
        report = Report(about(document, tier, languages), document.sections)
        asked, done = domain_of(document, domain), 0
        for windows in document.parts():
            predictions = classifier.classify_cleaned([text_of(one) for one in windows], tier, domains=[asked] * len(windows))[0]
            chosen = strongest_sentences(windows, predictions)
            sentences = [windows[place].sentences[index] for place, index in chosen]
            alone = classifier.classify(sentences, tier, domains=[asked] * len(sentences))
            for result in window_results(windows, predictions, chosen, alone):
                report.add(result)
            done += len(windows)
            if progress:
                progress(f"{done:,} of {document.windows:,} windows", done / document.windows)
        return report.to_dict()


def _source(named: str, allow_private: bool) -> "AbstractContextManager[Source]":
    from serving.documents.fetching import Fetcher
    from serving.documents.parsed import Source
    from serving.documents.reading import PAGE_SUFFIXES, require_size
    from serving.settings import DocumentSettings

    if named.lower().startswith(_URLS):
        return Fetcher(DocumentSettings.load().user_agent, allow_private).page(named)
    path = Path(named)
    if not path.is_file():
        remedy = "Check the path; a text that ends like a file name is a text with a space in it."
        raise SourceUnavailable(f"File {named} not found.", expected="a file, a URL or a text", remedy=remedy)
    try:
        require_size(path.stat().st_size, named)
        path.open("rb").close()
    except OSError as error:
        raise SourceUnavailable(f"File {named} cannot be read.", found=error, remedy="Check its permissions.") from error
    return nullcontext(Source(path, named, path.suffix.lower() in PAGE_SUFFIXES))


def document_tables(result: dict[str, Any]) -> Group:
    """Return the result of a document for a terminal; its texts are shown as typed, never as markup."""
    kind = f"{result['form']}, " if result["form"] else ""
    title = f"{result['document']} ({kind}{result['words']:,} words, domain {result['domain']})"
    sections = Table("label", *LABELS, "share", "words", "section", title=Text(as_typed(title)), box=None, header_style="dim")
    sections.title_justify = "left"
    _add(sections, result, 1.0, "whole document")
    for section in result["sections"] if len(result["sections"]) > 1 else []:
        _add(sections, section, section["share"], section["title"])
    strongest = Table("label", "contribution", "section", "sentence", box=None, header_style="dim")
    for one in result["strongest"]:
        where = f"{one['section']} · {one['position']:,}" if one["section"] else f"{one['position']:,}"
        strongest.add_row(
            _colored(one["label"]), f"{one['contribution']:+.5f}", Text(as_typed(where)), Text(as_typed(one["text"]))
        )
    return Group(sections, "", strongest)


def _add(table: Table, row: dict[str, Any], share: float, title: str) -> None:
    figures = [f"{row['probabilities'][label]:.3f}" for label in LABELS]
    table.add_row(_colored(row["label"]), *figures, f"{share:.1%}", f"{row['words']:,}", Text(as_typed(title)))


def _colored(label: str) -> str:
    return f"[{LABEL_COLORS[label]}]{label}[/]"

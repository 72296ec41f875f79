"""Classify texts with a bundle on the command line: a few texts, or a file of any size."""

import codecs
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.domains import DOMAINS
from data.errors import MalformedData, SettingsError
from data.names import unknown_name
from data.settings import LanguageSettings
from data.tables import ReadAs
from data.targets import MAX_TARGET, MAX_TARGETS
from orchestration.layout import Layout
from orchestration.progress import one_step
from orchestration.terminal.typed import as_typed

if TYPE_CHECKING:
    from serving.classifier import Classifier

LABEL_COLORS = {"negative": "red", "neutral": "yellow", "positive": "green"}
MAX_LINES = 10_000
"""Limit of `groundswell classify -`; use `groundswell score` for more."""


def open_classifier(bundle: Path | None, *, threads: int | None = None) -> "Classifier":
    """Open the classifier of a bundle folder, or of the production bundle, on the engine of the settings.

    Raises:
        BundleError: There is no bundle, or it is damaged.
        SettingsError: The engine is not installed.
    """
    from serving.bundle import production_bundle, read_bundle
    from serving.classifier import Classifier
    from serving.engines.choice import choose_engine, engine_cache
    from serving.settings import ServingSettings
    from serving.threads import cpu_quota

    var, threads = Layout.load().var, threads or cpu_quota()
    opened = read_bundle(bundle) if bundle else production_bundle(var)
    choice = choose_engine(opened, ServingSettings.load().engine, threads, engine_cache(var))
    return Classifier(opened, threads=threads, engine=choice.engine)


def texts_from(stdin: BinaryIO) -> list[str]:
    """Read one text per line of stdin, at most `MAX_LINES`.

    Raises:
        MalformedData: There is no text, there are too many, or a line is not UTF-8.
    """
    lines = list(islice(stdin, MAX_LINES + 1))
    if not lines:
        raise MalformedData("No text on stdin.", expected="one text per line", remedy="Pipe texts in.")
    if len(lines) > MAX_LINES:
        found = f"more than {MAX_LINES:,} lines"
        raise MalformedData("Too many texts at once.", found=found, remedy="Write them to a file: groundswell score FILE --out …")
    return [_text_of(line, number) for number, line in enumerate(lines, start=1)]


def _text_of(line: bytes, number: int) -> str:
    try:
        return line.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogatepass").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MalformedData(
            f"Line {number:,} of stdin is not UTF-8.", found=str(error), remedy="Convert the text, such as with iconv."
        ) from None


def classify_texts(
    texts: Sequence[str], bundle: Path | None, tier: str = "base", domain: str | None = None, targets: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return N results in the order of the texts.

    Each has `text` and the prediction's fields, `language` (None: not certain) and, where the model was not measured on that
    language, `warning`; or `text` and `error` where it cannot be classified.

    With `targets` each also has `targets`, the scores of `serving.targets`.

    Raises:
        BundleError: There is no bundle, it is damaged, it has no such tier, or it does not score companies.
        SettingsError: A setting is invalid.
    """
    from data.language import Languages, language_of
    from data.readable import MAX_DOCUMENT_CHARS, explain, unreadable
    from serving.targets import score_targets

    classifier = open_classifier(bundle)
    classifier.point(tier)  # a wrong name, before any text is read
    require_domain(domain)
    require_targets(targets)
    languages = Languages(classifier.languages, LanguageSettings.load().reject)
    results: list[dict[str, Any]] = []
    for text in texts:
        if reason := unreadable(text, MAX_DOCUMENT_CHARS):
            results.append({"text": text, "error": explain(reason, text, MAX_DOCUMENT_CHARS)})
            continue
        language = language_of(text)
        if languages.rejection(language):
            results.append({"text": text, "error": languages.explain(language)})
        else:
            warning = languages.warning(language)
            results.append({"text": text, "language": language, **({"warning": warning} if warning else {})})
    classified = [result for result in results if "error" not in result]
    predictions = classifier.classify([result["text"] for result in classified], tier, domains=[domain] * len(classified))
    for result, prediction in zip(classified, predictions, strict=True):
        fields = asdict(prediction)
        result.update({"domain" if name == "head" else name: value for name, value in fields.items()})
    if targets:
        found = score_targets(classifier, [result["text"] for result in classified], targets)
        for result, scores in zip(classified, found, strict=True):
            result["targets"] = [asdict(one) for one in scores]
    return results


def require_targets(targets: Sequence[str]) -> None:
    """Check the names of companies.

    Raises:
        SettingsError: There are too many, or one is blank or too long.
    """
    wrong = [name for name in targets if not 0 < len(name.strip()) <= MAX_TARGET]
    if wrong or len(targets) > MAX_TARGETS:
        raise SettingsError(
            "These are no names of companies.",
            found=f"{len(targets)} names" if not wrong else f"{wrong[0][:60]!r}, {len(wrong[0]):,} characters",
            expected=f"at most {MAX_TARGETS}, each 1 to {MAX_TARGET} characters",
        )


def require_domain(domain: str | None) -> None:
    """Check the domain that an option names.

    Raises:
        SettingsError: It is none.
    """
    if domain is not None and domain not in DOMAINS:
        raise unknown_name(SettingsError, "domain", domain, DOMAINS)


def warning_line(results: Sequence[dict[str, Any]]) -> str | None:
    """Return one line about the results with a warning, or None if there is none."""
    from data.language import language_name

    warned = [result for result in results if "warning" in result]
    if not warned or len(results) == 1:
        return warned[0]["warning"] if warned else None
    names = ", ".join(sorted({language_name(result["language"]) for result in warned}))
    return f"{len(warned):,} of {len(results):,} texts are in {names}; {warned[0]['warning'].partition('; ')[2]}"


def predictions_table(results: Sequence[dict[str, Any]]) -> Table:
    """Return the results of `classify_texts` as a table for a terminal; texts are shown as typed, never as markup."""
    table = Table("label", "confidence", "text", box=None, header_style="dim")
    for result in results:
        if "error" in result:
            table.add_row("[dim]none[/]", "", Text(f"{result['text'][:80]!r} {result['error']}"))
        else:
            label = result["label"]
            table.add_row(f"[{LABEL_COLORS[label]}]{label}[/]", f"{result['confidence']:.4f}", Text(as_typed(result["text"])))
            for one in result.get("targets", ()):
                remark = "" if one["mentioned"] else " (not named in the text)"
                table.add_row("", f"{one['score']:+.4f}", Text(f"{as_typed(one['target'])}{remark}", style="dim"))
    return table


def read_as_options(*, names: str | None, **options: str | None) -> ReadAs:
    """Return the options of `score` that set how a file is read; `names` has commas between them.

    Raises:
        SettingsError: A value is invalid.
    """
    try:
        return ReadAs(names=[name.strip() for name in names.split(",")] if names else None, **options)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = f"--{first['loc'][0]}"
        raise SettingsError(
            f"The option {name} is invalid.", found=repr(first["input"]), expected=first["msg"].removeprefix("Value error, ")
        ) from None


def score_labeled_file(
    file: Path,
    *,
    text_column: str,
    label_column: str | None,
    read_as: ReadAs,
    bundle: Path | None,
    tier: str,
    domain: str | None,
    out: Path | None,
    console: Console | None,
) -> dict[str, Any]:
    """Classify a file and, with labels, compute metrics.

    Returns:
        One row: `candidate`, `rows`, `tiers`, `domains`, `skipped`, `other_languages`, `read`, `texts_per_s`, and with labels
        each metric as `{value, low, high}`; with labels of sarcasm `sarcasm_f1`, `sarcasm_precision`, `sarcasm_recall`.

    Raises:
        BundleError: The bundle has no such tier.
    """
    from data.language import Languages
    from serving.score import score_file

    classifier = open_classifier(bundle)
    classifier.point(tier)  # a wrong name, before the file is read
    require_domain(domain)
    languages = Languages(classifier.languages, LanguageSettings.load().reject)
    options: dict[str, Any] = {"text_column": text_column, "label_column": label_column, "tier": tier, "domain": domain}
    with one_step(console, f"Score {file.name}") as progress:
        result = score_file(file, classifier, **options, read_as=read_as, out=out, languages=languages, progress=progress)
    row: dict[str, Any] = {
        "candidate": classifier.name,
        "rows": result.rows,
        "tiers": result.tiers,
        "domains": result.heads,
        "skipped": dict(result.skipped),
        "other_languages": result.other_languages,
        "read": result.read,
        "texts_per_s": round(result.rows / result.seconds, 1) if result.seconds else None,
        "cpu_us_per_text": round(1e6 * result.cpu_s / result.rows, 1) if result.rows else None,
        "predicted": dict(result.predicted),
    }
    if result.confusion is not None:
        from evaluation.metrics import score_confusion

        row |= {name: estimate.to_dict() for name, estimate in score_confusion(result.confusion).items()}
    if result.sarcasm is not None:
        from evaluation.sarcasm import score_counts

        row |= {name: estimate.to_dict() for name, estimate in score_counts(result.sarcasm).items()}
    return row


def as_table(row: dict[str, Any]) -> Table:
    """Return the result of one file as a table for a terminal."""
    table = Table("", "", title=row["candidate"], box=None, show_header=False, title_justify="left")
    for name, value in row.items():
        if name == "candidate" or value is None or value == {}:
            continue
        if name == "read":
            shown = _shown_reading(value)
        elif isinstance(value, dict) and "low" in value:
            if value["value"] is None:
                continue
            shown = f"{100 * value['value']:.2f}  [{100 * value['low']:.2f}, {100 * value['high']:.2f}]"
        elif isinstance(value, dict):
            shown = ", ".join(f"{key} {count:,}" for key, count in value.items())
        else:
            shown = f"{value:,}"
        table.add_row(name.replace("_", " "), shown)
    return table


def _shown_reading(read: dict[str, Any]) -> Text:
    """Return how a file was read as lines for a terminal."""
    how = ", ".join(f"{name} {read[name]}" for name in ("encoding", "delimiter", "quoting", "sheet") if name in read)
    counted = f"{read['rows']:,} rows" + (f" in {read['lines']:,} lines" if "lines" in read else "")
    first = ", ".join(f"{name} {value!r}" for name, value in read["first_row"].items())
    lines = [
        f"{read['format']}{f', {how}' if how else ''}",
        f"columns {', '.join(read['columns'])}",
        counted,
        f"first row: {first}",
    ]
    lines += [f"rejected {row}" for row in read.get("rejected_rows", [])]
    return Text(as_typed("\n".join(lines)))

"""Fail on words that have a better one: in identifiers, strings, comments, pages and dashboard texts.

    python .ci/words.py [path ...]    # all files that git knows, or these

Each line of output is `file:line: word; say ...`. A word that is right in one place stands in `ALLOWED` with the reason.
"""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".ts", ".tsx", ".sql", ".yaml", ".yml", ".css"}
SKIPPED = ("serving/dashboard/src/api/schema.d.ts", ".ci/words.py", "data/sample/*", "tests/*/corpus/*")
"""Generated, or texts of other people."""

WORDS = {
    r"judg\w*": "classify, predict (online); evaluate, score (offline)",
    r"verdicts?": "gate decision, prediction, feedback label",
    r"asides?": "rejected, quarantined, with the reason",
    r"roads?": "route, endpoint",
    r"tells?|told|telling": "log, report, return, notify, publish",
    r"says?|said|saying": "log, report, return, state",
    r"somebody|nobody|whoever": "name the actor: the client, no process, the caller",
    r"ladders?": "export variants",
    r"contestants?": "system under test, peer, candidate",
    r"stand ?ins?": "stub, fake",
    r"processors?": "CPU, core",
    r"besides?": "compared with, next to",
    r"(go|goes|going|went|gone) on": "resume, continue",
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, recreate",
    r"lies? in": "is stored in",
    r"vitals": "worker health, heartbeat",
    r"(so|as) many .{0,20}as it takes|for so long": "N messages, for N seconds",
    r"need (keys|topic|java|port|rate|source|columns|capacity|same)": "require_, check_, ensure_",
    r"answers?|answered|answering": "prediction (of the model), response, respond (of a server)",
    r"licences?": "license",
    r"behaviou?rs?(?<!behavior)(?<!behaviors)": "behavior",
    r"(normal|optim|material|initial|recogn|summar|serial|organ|minim|maxim|token|synchron)is(e|es|ed|ing|ation)": "-ize",
    r"colou?r(?<!color)s?|favou?r(?<!favor)(ite)?s?|neighbou?r(?<!neighbor)s?|centre[sd]?|grey": "the American spelling",
    r"catalogues?|labelled|labelling|artefacts?": "the American spelling",
}
"""What not to say, as a regular expression over whole words in lower case, and what to say."""

ALLOWED: list[tuple[str, str, str]] = [
    # Names in stored data and in the API, which stay as long as the data does.
    ("*lakehouse*", "answers", "the column of Gold"),
    ("serving/service/forget.py", "answers", "the table and the file of the cache"),
    ("serving/forgetting/stores.py", "answers", "the file of the cache"),
    ("tests/serving/forget_harness.py", "answers", "the table and the file of the cache"),
    ("tests/*/test_gold_questions.py", "answers", "the column of Gold"),
    ("tests/*/test_reconcile.py", "answers", "the column of Gold"),
    ("tests/*/test_quality.py", "answers=None", "the column of Gold"),
    ("*lakehouse*", "rows_not_answered", "a metric in MLflow"),
    ("data/feedback.py", "verdicts", "the table of the feedback store"),
    ("data/feedback.py", "said_by", "a column of the feedback store"),
    ("serving/service/cache/stores.py", "answer", "the table and the keys of the prediction store"),
    ("serving/service/cache/dynamodb.py", "answer#", "the keys of the prediction store"),
    ("serving/service/inference.py", '{"answers"', "the store's name in /readyz"),
    ("tests/serving/test_service.py", '"answers": "', "the store's name in /readyz"),
    ("tests/serving/test_abuse.py", '["answers"]', "the store's name in /readyz"),
    ("*/*alerts*.py", "judged", "a key of the saved state of the alerts, like the next"),
    ("*/*alerts*.py", "told", ""),
    # Texts of customers, which are to sound like them.
    ("configs/behavior.yaml", '"', "texts of tests"),
    ("orchestration/demo/*.py", "nobody answers", "a customer's text"),
    ("orchestration/demo/stream.py", "status page says", "a customer's text"),
    ("serving/dashboard/src/lib/samples.ts", "nobody", "a customer's text"),
    ("serving/dashboard/src/lib/samples.ts", "the answer came", "a customer's text"),
    ("evaluation/slices.py", "none|nobody|nothing", "English negations"),
    ("serving/streaming/alerts/drivers.py", "say says", "English words without meaning of their own"),
    # Names of other libraries.
    ("orchestration/cli/stream.py", "processors", "structlog"),
    ("serving/service/logs.py", "processors", "structlog"),
    ("serving/service/middleware/observing.py", "SpanProcessor", "OpenTelemetry"),
    ("data/tables/streams.py", "raw.tell()", "a method of files"),
    ("tests/models.py", "processors", "tokenizers"),
    ("serving/documents/pages.py", "nav, aside", "an element of HTML, like the next"),
    ("tests/filings.py", "<aside>", ""),
    # The words themselves.
    ("CHANGELOG.md", "| `", "names before a change, in a table"),
    ("tests/serving/test_docs_page.py", "AVOIDED_WORDS = ", "the same check of /docs"),
]
"""Where a word is right. The text is looked for in the line, any case."""

_PATTERN = re.compile("|".join(f"(?P<w{n}>\\b(?:{pattern})\\b)" for n, pattern in enumerate(WORDS)))
_SAY = list(WORDS.values())


def plain(line: str) -> str:
    """The line in lower case, with the words of identifiers apart: `need_keys`, `JudgedRow` and `stand-in` as words."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line)
    return re.sub(r"[_\-]+", " ", apart).lower()


def found(path: Path, text: str) -> list[str]:
    """What is wrong in one file, a line each."""
    name, lines = path.as_posix(), []
    allowed = [part.lower() for files, part, _ in ALLOWED if fnmatch.fnmatch(name, files)]
    for number, line in enumerate(text.splitlines(), 1):
        if any(part in line.lower() for part in allowed):
            continue
        for match in _PATTERN.finditer(plain(line)):
            lines.append(f"{name}:{number}: {match[0]!r}; say: {_SAY[int(str(match.lastgroup)[1:])]}")
    return lines


def main(given: list[str]) -> int:
    """Print what is wrong; the exit code is 1 where there is something."""
    known = subprocess.run(["git", "ls-files", *given], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wrong = []
    for name in known:
        path = Path(name)
        if path.suffix in SUFFIXES and not any(fnmatch.fnmatch(name, skipped) for skipped in SKIPPED) and (ROOT / path).is_file():
            wrong += found(path, (ROOT / path).read_text(encoding="utf-8"))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Read a document in a process of its own, with bounded memory and CPU time, and write its windows to a folder.

    python -m serving.documents.child '{"path": …, "out": …}'    # the fields of `parsed.Order`

A page can be made to exhaust a parser; here that ends this process and nothing else.
"""

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data.errors import GroundswellError
from data.language import language_of
from data.tokenization import load_tokenizer
from serving.documents.parsed import CPU_S, DOCUMENT, MEMORY_BYTES, WINDOWS, Order, too_much
from serving.documents.reading import read_text
from serving.documents.sections import Section, sections_of
from serving.documents.windows import windows_of

_LANGUAGE_CHARS = 2_000
_DEFAULT_LANGUAGE = "en"


def main(order: Order) -> None:
    """Write `windows.jsonl`, then `document.json`: the document, or the error."""
    out = Path(order.out)
    try:
        found = _write(order, out)
    except (GroundswellError, MemoryError) as raised:
        too_large = too_much(order.name, f"more than {MEMORY_BYTES // 2**20:,} MiB of memory")
        error = raised if isinstance(raised, GroundswellError) else too_large
        known = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
        found = {"message": error.message} | {key: None if value is None else str(value) for key, value in known.items()}
    (out / DOCUMENT).write_text(json.dumps(found), encoding="utf-8")


def _write(order: Order, out: Path) -> dict[str, object]:
    text = read_text(Path(order.path), order.name, is_page=order.is_page, charset=order.charset)
    sections = sections_of(text)
    language = language_of(_middle(sections))
    tokenizer = load_tokenizer(Path(order.tokenizer), max_length=order.max_length)
    windows = 0
    with (out / WINDOWS).open("w", encoding="utf-8", errors="replace") as lines:
        for window in windows_of(sections, language or _DEFAULT_LANGUAGE, tokenizer, order.max_length):
            lines.write(json.dumps(asdict(window), ensure_ascii=False) + "\n")
            windows += 1
    if not windows:
        raise GroundswellError(f"{order.name} has no sentence.", expected="text with words that the model can read")
    return {"form": text.form, "language": language, "sections": [one.title for one in sections], "windows": windows}


def _middle(sections: Sequence[Section]) -> str:
    """Return some prose: a cover has names and addresses."""
    longest = max(sections, key=lambda section: sum(map(len, section.paragraphs)))
    return " ".join(sorted(longest.paragraphs, key=len, reverse=True)[:5])[:_LANGUAGE_CHARS]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))  # first SIGXCPU, which the parent knows
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the document
    main(Order(**json.loads(sys.argv[1])))

"""Pages name only what exists: commands and options, make targets, files, functions, links. No command is run here."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from orchestration.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").glob("*.md"))
NOW = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""Pages about the present; the changelog also names what is gone."""
MOST = 120
UNCUT = 80
PROGRAMS = ("groundswell", "make")
FILES = (".py", ".yaml", ".csv", ".gz", ".md", ".png", ".json")
FOLDERS = "data|training|evaluation|serving|orchestration|benchmarks|configs|tests"


def by_name(pages):
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def code(page: Path) -> list[str]:
    """Return the code of a page: lines of blocks, continued ones joined, and code in the text."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
    blocks = [body for language, body in fence.findall(text) if language in ("", "sh", "console")]
    lines = [line.strip() for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", fence.sub("", text))


def commands(page: Path, program: str) -> list[list[str]]:
    found = []
    for line in code(page):
        if line.split(" ")[0] == program:
            words = shlex.split(line, comments=True)
            stop = next((at for at, word in enumerate(words) if word in ("|", "&&", ">", "…") or word.endswith(",")), None)
            found.append([word.rstrip(",") for word in words[: stop if stop is None else stop + 1] if word not in ("|", "…")])
    return found


def long_lines(text: str) -> list[str]:
    """Return lines that are too long and could be shorter.

    A row of a table cannot be wrapped, nor can a line with a word (an address, a list of packages) that is itself almost as long.
    """
    return [
        line
        for line in text.splitlines()
        if len(line) > MOST and not line.startswith("|") and max(map(len, line.split())) <= UNCUT
    ]


def test_long_line_is_found_unless_it_cannot_be_cut():
    assert long_lines("word " * 30) and not long_lines("word " * 20)
    assert not long_lines("| " + "word " * 30) and not long_lines("see https://example.org/" + "x" * 110)


@by_name(PAGES)
def test_lines_have_at_most_120_characters(page):
    assert long_lines(page.read_text(encoding="utf-8")) == []


def problem_with(words: list[str]) -> str | None:
    """Return what is wrong with a `groundswell` command: an unknown subcommand or option."""
    command, rest = typer.main.get_command(app), words[1:]
    while (known := getattr(command, "commands", None)) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        if name not in known:
            return f"no command {name!r}"
        command = known[name]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in options]
    return f"no option {', '.join(unknown)}" if unknown else None


def test_wrong_commands_are_found():
    assert problem_with(["groundswell", "trian"]) == "no command 'trian'"
    assert problem_with(["groundswell", "stream", "ups"]) == "no command 'ups'"
    assert problem_with(["groundswell", "train", "--row", "6"]) == "no option --row"
    assert problem_with(["groundswell", "train", "--rows", "6"]) is None
    assert problem_with(["groundswell", "leaderboard", "--format=csv"]) is None


@by_name(NOW)
def test_groundswell_commands_and_options_exist(page):
    wrong = {" ".join(words): problem for words in commands(page, "groundswell") if (problem := problem_with(words))}
    assert wrong == {}


@by_name(NOW)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {word for words in commands(page, "make") for word in words[1:2]}
    assert named <= targets


def test_make_lists_each_target_under_a_heading():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    ).stdout
    before, *groups = ("\n" + listed).split("\n\n")
    assert not before.strip() and [group.splitlines()[0] for group in groups] == re.findall(
        r"^##@ (.+)$", text, flags=re.MULTILINE
    )
    targets = [line.split()[1] for group in groups for line in group.splitlines()[1:]]
    assert sorted(targets) == sorted(re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE))


def test_commands_are_looked_for_where_they_are():
    assert sum(len(commands(page, "groundswell")) for page in NOW) > 60
    assert sum(len(commands(page, "make")) for page in NOW) > 40


def defined(dotted: str) -> bool:
    """Return whether `folder.module.Class.method` is defined, from the source alone."""
    names = dotted.split(".")
    for size in range(len(names), 0, -1):
        path = ROOT.joinpath(*names[:size])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text(encoding="utf-8")).body
            for name in names[size:]:
                node = next((one for one in body if name in _names(one)), None)
                if node is None:
                    return False
                body = getattr(node, "body", [])
            return True
    return False


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_undefined_names_are_found():
    assert defined("serving.classifier.Classifier.classify_cleaned") and defined("data.labeled_text.LABELED_TEXT")
    assert defined("training.precision") and defined("data.sources.fetch")
    assert not defined("serving.classifier.Classifier.train") and not defined("serving.nothing")


@by_name(NOW)
def test_named_modules_and_functions_are_defined(page):
    dotted = {word for word in code(page) if re.fullmatch(rf"(?:{FOLDERS})(?:\.\w+)+", word)}
    assert [word for word in dotted if not defined(word) and not word.endswith(FILES)] == []


@by_name(NOW)
def test_named_files_and_links_exist(page):
    text = page.read_text(encoding="utf-8")
    words = {word for word in code(page) if re.fullmatch(rf"(?:{FOLDERS}|docs)/[\w./-]*", word)}
    paths = [word for word in words if word.endswith(("/", *FILES))]  # others are keys of assets
    links = {link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")}
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("heading", ["## From `POST /v1/classify` to the model and back", "## From a dataset to production"])
def test_walk_has_at_most_ten_names(heading):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split(heading)[1].split("\n## ")[0]
    steps = re.findall(r"^\d+\. `([\w.]+)`", section, flags=re.MULTILINE)
    assert 5 <= len(steps) <= 10 and all(map(defined, steps))

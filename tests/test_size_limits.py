"""No class over 250 lines, no function over 60, no block nested deeper than 4, unless a reason is stated here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("data", "training", "evaluation", "serving", "orchestration", "benchmarks")
CLASS_LINES, FUNCTION_LINES, NESTING = 250, 60, 4
REASONS = {
    "benchmarks/dashboard/panels.py::measure": "each loop is one axis of the measurement",
    "benchmarks/stream/alerts.py::run": "each loop is one axis of the measurement, and the rest is its table of results",
    "benchmarks/stream/bench.py::Bench": "one run with its broker, warehouse and processes, which are started and ended together",
    "orchestration/assets/data.py::_dataset": "one Dagster asset: most lines are the arguments of its decorator",
    "training/finetune.py::make_trainer": "most lines are the arguments of transformers' Trainer, one each",
}
"""What may exceed a limit, and why."""
_BLOCKS = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(node: ast.stmt) -> int:
    """Lines of a class or function; the docstring of a function does not count."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if isinstance(node, _FUNCTIONS) and ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def nesting_of(node: ast.AST, depth: int = 0) -> int:
    """Blocks around the innermost statement; functions within count by themselves, and `elif` is as deep as its `if`."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS | ast.ClassDef | ast.Lambda):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting_of(child, depth + (isinstance(child, _BLOCKS) and not is_elif)))
    return deepest


def over_the_limits(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each class or function that exceeds a limit, with what it exceeds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and lines_of(node) > CLASS_LINES:
            yield node.name, f"{lines_of(node)} lines; at most {CLASS_LINES} for a class"
        if isinstance(node, _FUNCTIONS) and lines_of(node) > FUNCTION_LINES:
            yield node.name, f"{lines_of(node)} lines without docstring; at most {FUNCTION_LINES} for a function"
        if isinstance(node, _FUNCTIONS) and nesting_of(node) > NESTING:
            yield node.name, f"{nesting_of(node)} nested blocks; at most {NESTING}"


def test_classes_and_functions_are_small_or_state_a_reason():
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts:
                for name, excess in over_the_limits(path.read_text(encoding="utf-8")):
                    found[f"{path.relative_to(ROOT)}::{name}"] = excess
    assert len(found) >= 1, "no sources were read"
    without_reason = [f"{where}: {excess}" for where, excess in found.items() if where not in REASONS]
    assert not without_reason, "Split these, or state a reason in REASONS:\n" + "\n".join(without_reason)
    assert not REASONS.keys() - found.keys(), f"These are within the limits now: {REASONS.keys() - found.keys()}"


def _function(lines: int) -> str:
    return "def f():\n" + "\n".join(["    pass"] * (lines - 1))


_DEEP = "def f():\n" + "".join(f"{'    ' * depth}for x in y:\n" for depth in range(1, 6)) + "    " * 6 + "pass"
_ELIFS = "def f():\n    if a:\n        pass\n" + "".join(f"    elif b == {n}:\n        pass\n" for n in range(9))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        (_function(60), 0),
        (_function(61), 1),
        (_function(61).replace("    pass", '    """A\n\n    docstring."""', 1), 0),
        ("class C:\n" + "    a = 1\n" * 249, 0),
        ("class C:\n" + "    a = 1\n" * 250, 1),
        (_DEEP, 1),
        (_DEEP.replace("for x in y", "if y", 1).replace("                    for x in y:", "                    if y:"), 1),
        (_DEEP.replace("                    for x in y:\n                        pass", "                    pass"), 0),
        (_ELIFS, 0),
        (
            "def f():\n    with a:\n        def g():\n"
            + "".join(f"{'    ' * d}while x:\n" for d in range(3, 7))
            + "    " * 7
            + "pass",
            0,
        ),
    ],
)
def test_limits_are_measured(source, count):
    assert len(list(over_the_limits(source))) == count

"""Settings are passed down as arguments: only one module writes the environment of its process, for other people's libraries."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("data", "training", "evaluation", "serving", "orchestration")
WRITER = Path("data/library_settings.py")
METHODS = {"setdefault", "update", "pop", "popitem", "clear", "__setitem__", "__delitem__", "__ior__"}


def _is_environ(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (isinstance(node, ast.Name) and node.id == "environ")


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign | ast.Delete):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def writes(source: str) -> list[int]:
    """Return the lines that write `os.environ`."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        wrote = any(_is_environ(one) or (isinstance(one, ast.Subscript) and _is_environ(one.value)) for one in _targets(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            wrote |= (node.func.attr in METHODS and _is_environ(node.func.value)) or node.func.attr in {"putenv", "unsetenv"}
        if wrote:
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return lines


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["A"] = "b"',
        'os.environ.setdefault("A", "b")',
        'os.environ |= {"A": "b"}',
        'os.environ.update(A="b")',
        'del os.environ["A"]',
        'os.environ.pop("A", None)',
        'environ["A"] = "b"',
        'os.putenv("A", "b")',
    ],
)
def test_a_write_is_found(line):
    assert writes(f"import os\n{line}\n") == [2]


@pytest.mark.parametrize("line", ['x = os.environ["A"]', 'os.environ | {"A": "b"}', 'os.environ.get("A")', 'env["A"] = "b"'])
def test_a_read_is_none(line):
    assert writes(line) == []


def test_only_the_settings_of_libraries_write_the_environment():
    found = []
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT)
        if "node_modules" not in name.parts:
            found += [f"{name}:{line}" for line in writes(path.read_text())]
    assert found and all(place.startswith(f"{WRITER}:") for place in found), "\n".join(found)

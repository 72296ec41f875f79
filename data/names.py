"""Names that are not known, and malformed entries: the most similar known name, and the error."""

import difflib
import re
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from data.errors import GroundswellError, SettingsError

Error = TypeVar("Error", bound=GroundswellError)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `name`, or None."""
    return next(iter(difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return the remedy that suggests the most similar known name; `otherwise` where none is similar."""
    close = nearest(name, known)
    return f"Did you mean {close!r}?" if close else otherwise


def unknown_name(
    error: type[Error], kind: str, name: str, known: Iterable[str], *, where: str = "", otherwise: str | None = None
) -> Error:
    """Return the error for an unknown name.

    Args:
        error: Its class.
        kind: What the name is of, such as `dataset`.
        name: The name.
        known: The known names, in the order to list them.
        where: Follows the name, such as ` for the lakehouse`.
        otherwise: The remedy where no known name is similar.
    """
    known = list(known)
    return error(
        f"Unknown {kind} {name!r}{where}.",
        expected=f"one of {', '.join(known)}" if known else "none is known",
        remedy=did_you_mean(name, known, otherwise),
    )


def malformed_entry(kind: str, name: str, file: str, error: ValidationError, fields: Iterable[str]) -> SettingsError:
    """Return the error for an entry of a file in `configs/`.

    Args:
        kind: What the entry is, such as `dataset`.
        name: Its name.
        file: Where it is.
        error: Why it is refused; an unknown key is reported first, as a misspelled key is why another one is missing.
        fields: The known keys.
    """
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"]))
    is_unknown = first["type"] == "extra_forbidden"
    shown = _without_secrets(key, first["input"])
    return SettingsError(
        f"The {kind} {name!r} in {file} is invalid{f' at {key}' if key else ''}.",
        found=f"an unknown key, with the value {shown}" if is_unknown else shown,
        expected="the keys at the top of the file" if is_unknown else first["msg"],
        remedy=did_you_mean(key, fields) if is_unknown else None,
    )


def _without_secrets(key: str, value: object) -> str:
    """Return a value for display; what may be a key or password, which belongs in no file, is left out."""
    if any(word in key.lower() for word in ("key", "secret", "token", "password")):
        return "(not shown)"
    return re.sub(r"//[^/@'\"]*@", "//(not shown)@", repr(value))

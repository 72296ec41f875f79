"""Names that are not known: the most similar known one, and the error."""

import difflib
from collections.abc import Iterable
from typing import TypeVar

from data.errors import GroundswellError

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

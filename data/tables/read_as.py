"""How a table is to be read: what the user sets; all else is detected."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Quoting = Literal["quoted", "escaped", "none"]

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
"""Delimiters that are detected, with their names."""
NO_DELIMITER = "\x1f"
"""Given to the parser for a file of one column in which each line is one text."""


class ReadAs(BaseModel):
    """Settings of a table; null is detected. The first three are for text files, Parquet and XLSX have their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoding: str | None = None
    """Name of a codec of Python, such as `cp1252`."""
    delimiter: str | None = Field(default=None, min_length=1)
    """One character, or `comma`, `tab`, `semicolon`, `pipe`; `none`: each line is one text."""
    quoting: Quoting | None = None
    """`quoted`: "" is a quotation mark within quotes. `escaped`: \\" is one. `none`: a quotation mark is a character."""
    names: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the columns, for a CSV file or sheet without a header."""

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        named = {name: character for character, name in DELIMITERS.items()} | {"none": NO_DELIMITER}
        character = named.get(value or "", value)
        if character is not None and (len(character) != 1 or character in '"\\\r\n'):
            raise ValueError(f"expected one character or one of {', '.join(named)}")
        return character

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError("expected the name of a text encoding, such as utf-8, utf-16, cp1252 or latin-1") from None
        return value


def delimiter_name(character: str) -> str:
    """Return how a delimiter is named in reports."""
    return "none" if character == NO_DELIMITER else DELIMITERS.get(character, repr(character))

"""Ids as files hold them."""

import math
import re
from numbers import Integral, Real

from data.errors import MalformedData

EXACT = 2**53
"""A float beyond this is not the number that was written: different ids become equal."""
_THROUGH_FLOAT = re.compile(r"[+-]?\d+[eE]\+\d+|[+-]?\d+[.,]\d+[eE]\+?\d+")
"""`1.23E+17`, with a decimal comma too; `12E5` may be a name."""
_WHOLE = re.compile(r"(\d+)[.,]0+")


def id_text(value: object, where: str) -> str | None:
    """Return an id as text, or None where it is missing. `12.0` is `12`: a column of whole numbers with a gap is written so.

    Raises:
        MalformedData: It went through a float and lost digits, such as 1.23E+17.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Integral):  # exact at any size
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        if abs(number) >= EXACT or not number.is_integer():
            raise _lost_digits(f"{number!r}, a floating-point number", where)
        return str(int(number))
    text = str(value).strip()
    if _THROUGH_FLOAT.fullmatch(text):
        raise _lost_digits(text, where)
    if whole := _WHOLE.fullmatch(text):
        if int(whole[1]) >= EXACT:
            raise _lost_digits(text, where)
        return whole[1]
    return text or None


def _lost_digits(found: str, where: str) -> MalformedData:
    return MalformedData(
        f"An id {where} has lost digits.",
        found=found,
        expected="integers or text; different ids become equal as floating-point numbers beyond 2^53",
        remedy="Export the column again as integers or text.",
    )

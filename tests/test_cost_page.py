"""docs/cost.md: its program prints its tables."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cost.md"


def printed() -> str:
    """What the program on the page prints."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, str(PAGE), "exec"), {})
    return out.getvalue()


def test_the_tables_are_what_the_program_prints():
    assert printed().strip() in PAGE.read_text(encoding="utf-8")

"""The program in docs/cost.md prints the tables of the page."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cost.md"


def printed() -> str:
    """Return the output of the program on the page."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, str(PAGE), "exec"), {})
    return out.getvalue()


def test_the_tables_are_what_the_program_prints():
    assert printed().strip() in PAGE.read_text(encoding="utf-8")

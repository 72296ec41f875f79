"""`groundswell classify` takes texts that begin with a dash, and shows every text as it was typed.

Textualize/rich#2636, pallets/click#1624
"""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.terminal.scoring import predictions_table
from tests.models import tiny_bundle

TYPED = [
    "Best ferry ever [/sarcasm]",
    "See [here](http://x.y) [bold]wow[/bold] :smile:",
    "[red]the number[/] [/nothing] [link=file:///etc]x[/link]",
    "ends with a backslash \\",
    "\\[not markup] [",
    "[@click=app.bell]x",
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle").directory)


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("result", [{"label": "neutral", "confidence": 0.5}, {"error": "is blank"}])
def test_a_text_is_never_markup(text, result):
    printed = io.StringIO()
    Console(file=printed, width=200).print(predictions_table([{"text": text, **result}]))
    shown = printed.getvalue()
    assert (repr(text) if "error" in result else text) in shown


def test_a_mistyped_option_is_no_text(bundle):
    done = CliRunner().invoke(app, ["classify", "great film", "--bundel", bundle])
    assert done.exit_code == 2 and "--bundle" in done.output


@pytest.mark.parametrize(
    "typed", [["-5% today"], ["--", "-5% today"], ["--- great film ---"], ["-great film", "--awful soup"], ["-h"]]
)
def test_a_text_may_begin_with_a_dash(typed, bundle):
    done = CliRunner().invoke(app, ["classify", "--json", "--bundle", bundle, *typed])
    assert done.exit_code == 0, done.output
    assert [result["text"] for result in json.loads(done.stdout)] == [text for text in typed if text != "--"]

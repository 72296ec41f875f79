"""`groundswell classify` takes texts that begin with a dash, and shows every text as it was typed.

Textualize/rich#2636, pallets/click#1624
"""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestration.cli.main import app
from orchestration.cli.output import print_rows
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


ACTING = "Awful \x1b[2Jferry \x9b31m\x07\r, half of \ud83d"
"""What clears the screen, changes the color, rings, goes to the start of the line; and what no UTF-8 can hold."""


def test_control_characters_and_half_an_emoji_are_shown_as_escapes(bundle):
    done = CliRunner().invoke(app, ["classify", "--bundle", bundle, ACTING, "Great\nferry"])
    assert done.exit_code == 0, done.output
    assert r"Awful \x1b[2Jferry \x9b31m\x07\r, half of \ud83d" in done.stdout
    assert not set(done.stdout) & set("\x1b\x9b\x07\r")
    done = CliRunner().invoke(app, ["classify", "--json", "--bundle", bundle, ACTING])
    assert [result["text"] for result in json.loads(done.stdout)] == [ACTING]


def test_rows_of_texts_are_shown_without_control_characters(capsys):
    print_rows([{"text": ACTING}, {"text": "[/fine]"}], title="texts")
    shown = capsys.readouterr().out
    assert r"\x1b[2J" in shown and "[/fine]" in shown and "\x1b" not in shown


def test_line_of_stdin_that_is_not_utf8_is_named(bundle):
    done = CliRunner().invoke(
        app, ["classify", "-", "--bundle", bundle], input="Great\nHalf \ud83d\n".encode("utf-8", "surrogatepass")
    )
    assert done.exit_code == 0 and r"Half \ud83d" in done.stdout
    done = CliRunner().invoke(app, ["classify", "-", "--bundle", bundle], input=b"Great\ncaf\xe9\n")
    assert done.exception is not None and "Line 2 of stdin is not UTF-8" in str(done.exception)


def test_a_mistyped_option_is_no_text(bundle):
    done = CliRunner().invoke(app, ["classify", "great film", "--bundel", bundle])
    assert done.exit_code == 2 and "--bundle" in done.output


@pytest.mark.parametrize(
    "typed",
    [["-5% today"], ["--", "-5% today"], ["--- great film ---"], ["-great film", "--awful soup"], ["-h"], ["--bundle of joy"]],
)
def test_a_text_may_begin_with_a_dash(typed, bundle):
    done = CliRunner().invoke(app, ["classify", "--json", "--bundle", bundle, *typed])
    assert done.exit_code == 0, done.output
    assert [result["text"] for result in json.loads(done.stdout)] == [text for text in typed if text != "--"]

"""Every command teaches itself: a group in `groundswell --help`, and an example that its own parser takes."""

import shlex

import pytest
import typer

from orchestration.cli.main import app


def _leaves(command, path=()):
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        if not child.hidden:
            yield from _leaves(child, (*path, name))


LEAVES = dict(_leaves(typer.main.get_command(app)))


def test_each_command_of_the_first_page_has_a_group():
    root = typer.main.get_command(app)
    assert {name for name, command in root.commands.items() if not command.hidden and not command.rich_help_panel} == set()


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_example_in_the_help_of_a_command_is_one_that_it_takes(path):
    command = LEAVES[path]
    assert (command.epilog or "").startswith("Example: groundswell "), "no example"
    words = shlex.split(command.epilog.removeprefix("Example: groundswell "))
    assert tuple(words[: len(path)]) == path
    command.make_context(path[-1], words[len(path) :]).close()

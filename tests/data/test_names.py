import pytest

from data.errors import SettingsError
from data.names import unknown_name


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("languges", "Did you mean 'languages'?"),
        ("LANGUAGES", "Did you mean 'languages'?"),
        ("xyz", "See the list."),
        ("", "See the list."),
    ],
)
def test_unknown_name_lists_the_known_ones_and_suggests_the_most_similar(name, remedy):
    error = unknown_name(SettingsError, "view", name, ["hours", "languages"], otherwise="See the list.")
    assert str(error) == f"Unknown view {name!r}.\n  expected: one of hours, languages\n  remedy: {remedy}"


def test_unknown_name_where_none_is_known_has_no_remedy():
    error = unknown_name(SettingsError, "alert", "a", [], where=" in the warehouse")
    assert str(error) == "Unknown alert 'a' in the warehouse.\n  expected: none is known"

import re

import data.errors


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    drawn = {}
    above: list[str] = []
    for line in (data.errors.__doc__ or "").splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+)\b", line)
        if not found or (line[0] not in "│├└ " and found[2] != "GroundswellError"):
            continue
        depth = len(found[1]) // 4
        above = [*above[:depth], found[2]]
        drawn[found[2]] = above[depth - 1] if depth else "Exception"
    classes = {name: one for name, one in vars(data.errors).items() if isinstance(one, type) and issubclass(one, Exception)}
    assert drawn == {name: one.__bases__[0].__name__ for name, one in classes.items()}

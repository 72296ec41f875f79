"""A job of which no line has a text is refused when it is submitted, and the error names the fields that were found."""

import pytest

from serving.service.jobs.routes import _from_json, _from_lines
from serving.service.json_reader import Unfit


def test_lines_with_another_field_are_refused_with_its_name():
    with pytest.raises(Unfit, match=r"found `body`, `at`, expected a string or an object with `text`"):
        _from_lines(b'{"body": "Great crew", "at": 1}\n{"body": "Bad"}\n')
    with pytest.raises(Unfit, match="no text of the job can be classified"):
        _from_json(b'{"texts": [{"body": "Great crew"}, null, " "]}')


def test_one_line_with_a_text_is_enough():
    assert _from_lines(b'{"body": "Great crew"}\n{"text": "Bad"}').texts == [None, "Bad"]

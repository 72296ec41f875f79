"""A delimiter at the end of each line moves the columns: labels become the texts.

pandas-dev/pandas#14124, pandas-dev/pandas#15203.
"""

import pytest

from data.errors import MalformedData
from tests.cases.tables import dataset, lines_of, scored


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_as_the_header_names_them(delimiter, tmp_path):
    line = delimiter.join(["{text}", "{label}", "{label}", "\n"])
    content = lines_of(180, line.replace("{text}", '"{text}"'), first=delimiter.join(["text", "label", "second_rater\n"]))
    _, frame = dataset(tmp_path, "a.csv", content)
    assert len(frame) == 180 and frame["text"][0] == "Great crew on flight 0, thank you"
    assert frame["label"].value_counts().to_dict() == {"negative": 60, "neutral": 60, "positive": 60}
    assert scored(tmp_path / "b.csv", content)[1].rows == 180


def test_rows_with_another_column_than_the_header_are_refused_by_line(tmp_path):
    content = lines_of(180, '{n},"{text}",{label}\n', first="text,label\n")  # as R's write.table writes row names
    with pytest.raises(MalformedData, match="180 of 180 rows do not fit") as caught:
        dataset(tmp_path, "a.csv", content)
    assert "line 2: 3 fields, expected 2" in str(caught.value.found)


@pytest.mark.parametrize("header", ["label,text", "other,text,label"])
def test_labels_in_the_text_column_are_refused(header, tmp_path):
    columns = {"label,text": '"{text}",{label}\n', "other,text,label": '"{text}",{label},x\n'}
    content = lines_of(180, columns[header], first=f"{header}\n")
    for read in (lambda: dataset(tmp_path, "a.csv", content), lambda: scored(tmp_path / "b.csv", content)):
        with pytest.raises(MalformedData, match="holds no texts"):
            read()

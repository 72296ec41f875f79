"""The texts of the lakehouse's demo."""

from data.labels import LABELS
from orchestration.demo.lakehouse import labeled_texts


def test_without_a_data_folder_texts_come_from_the_sample():
    texts = labeled_texts(500)
    assert len(texts) == 500 > len(set(texts)) > 20
    assert {label for _, label in texts} == set(LABELS)

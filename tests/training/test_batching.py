import torch
from hypothesis import given
from hypothesis import strategies as st

from training.batching import Collator, LengthGroupedSampler


@given(st.lists(st.integers(1, 96), min_size=1, max_size=300), st.integers(1, 16), st.integers(0, 5))
def test_the_sampler_gives_every_row_once_per_epoch_in_a_new_order(lengths, size, seed):
    sampler = LengthGroupedSampler(lengths, size, seed)
    sampler.set_epoch(0)
    first = list(sampler)
    assert sorted(first) == list(range(len(lengths))) and len(sampler) == len(lengths)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(first)


def test_batches_have_similar_lengths():
    lengths = [n * 37 % 96 + 1 for n in range(2000)]
    order = list(LengthGroupedSampler(lengths, 32, 0))
    batches = [[lengths[i] for i in order[start : start + 32]] for start in range(0, 2000, 32)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)
    assert sum(max(batch) for batch in batches[:10]) != sum(sorted(map(max, batches))[:10]), "batches are not in order of length"


def test_rows_are_padded_and_masked():
    batch = Collator(9)([{"input_ids": [1, 2, 3], "labels": [0, 0, -1]}, {"input_ids": [4], "labels": [0, 2, 1]}])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].dtype == torch.int64

"""The predictions that processes share."""

import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from data.settings import project_root
from serving.classifier import Classification
from serving.service.cache.predictions import pack, unpack
from serving.service.cache.shared import _BUCKET, SharedPredictions

KEYS = st.integers(1, 40).map(lambda n: n.to_bytes(8, "little") * 2)


@settings(max_examples=50)
@given(st.lists(st.tuples(KEYS, st.binary(max_size=14)), max_size=80), st.integers(1, 30))
def test_what_is_found_is_what_was_stored_last_under_that_key(tmp_path_factory, stored, texts):
    folder = tmp_path_factory.mktemp("shared")
    first, second = SharedPredictions(folder, texts), SharedPredictions(folder, texts)
    last = {}
    for number, (key, value) in enumerate(stored):
        (first, second)[number % 2].put(key, value)
        if len(value) <= 11:
            last[key] = value
            assert first.get(key) == second.get(key) == value, "the newest is always found"
    for key in {key for key, _ in stored}:
        assert first.get(key) in (last.get(key), None)


def test_slot_that_is_half_written_is_empty(tmp_path):
    shared, key = SharedPredictions(tmp_path, 4), b"k" * 16
    shared.put(key, b"12345678")
    for place in range(17, 32):
        kept = shared._bytes[place]
        shared._bytes[place] = kept ^ 1
        assert shared.get(key) is None
        shared._bytes[place] = kept
    shared._bytes[16] = 255
    assert shared.get(key) is None
    assert len(shared._bytes) == _BUCKET and shared.get(b"\0" * 16) is None


def test_prediction_with_sarcasm_fits_and_one_of_windows_is_left_out(tmp_path):
    shared, key = SharedPredictions(tmp_path, 100), os.urandom(16)
    one = Classification("positive", 0.8, (0.1, 0.1, 0.8), (), "base", "general", 0.25)
    shared.put(key, pack(one))
    assert unpack(shared.get(key)) == one


_PUT = """
import hashlib, sys
from pathlib import Path
from serving.service.cache.shared import SharedPredictions
shared = SharedPredictions(Path(sys.argv[1]), 64)
wrong = 0
for number in range(20_000):
    key = hashlib.blake2b(b"%d" % (number * 7919 % 200), digest_size=16).digest()
    found = shared.get(key)
    wrong += found not in (None, key[:9])
    shared.put(key, key[:9])
print(wrong)
"""


def test_processes_that_write_at_the_same_time_never_read_a_wrong_value(tmp_path):
    command = [sys.executable, "-c", _PUT, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=project_root(), stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate(timeout=300)[0].strip() for one in running] == ["0"] * 3

"""Blank keep-alive lines are no records (DocNow/twarc#74, twitivity/twitter-stream.py#18)."""

import pyarrow as pa

from data.tweets import parse
from serving.lakehouse.messages import read_messages
from serving.streaming.decode import decode
from serving.streaming.producer import file_events


def test_blank_lines_are_neither_read_nor_sent(tmp_path):
    file = tmp_path / "stream.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"id": 1}\r\n\r\n  \n\xef\xbb\xbf\n{"id": 2}')
    assert list(file_events(file)) == [b'{"id": 1}', b'{"id": 2}']
    assert decode(b"\r\n") == decode(b"\xef\xbb\xbf ") == decode(None) == "empty message"
    ((row,),) = read_messages(pa.array([b"\r\n"])).to_pylist()
    assert row["reason"] == "empty message"
    assert [parse(line) for line in file.read_bytes().split(b"\n")] == [{"id": 1}, None, None, None, {"id": 2}]

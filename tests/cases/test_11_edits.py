"""An edit of a tweet replaces its predecessor (mahrtayyab/tweety#144, DocNow/twarc#657).

`tests/serving/test_lakehouse.py` has the tables.
"""

import json

import pyarrow as pa

from serving.lakehouse.messages import read_messages


def test_edits_share_the_first_id_and_the_newest_has_the_most_predecessors():
    first = {"id": "1101", "text": "Lovely app", "edit_history_tweet_ids": ["1101"]}
    # Fetched later, the first version names its edits too.
    again = {"id": "1101", "text": "Lovely app", "edit_history_tweet_ids": ["1101", "1102", "1103"]}
    third = {"data": {"id": "1103", "text": "It ate my ticket", "edit_history_tweet_ids": ["1101", "1102", "1103"]}}
    rows = [row for (row,) in read_messages(pa.array([json.dumps(one) for one in (first, again, third)])).to_pylist()]
    assert [(row["id"], row["first_id"], row["edit"], row["replaces"]) for row in rows] == [
        ("1101", "1101", 0, []),
        ("1101", "1101", 0, []),
        ("1103", "1101", 2, ["1101", "1102"]),
    ]

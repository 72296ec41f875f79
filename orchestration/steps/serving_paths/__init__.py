"""The same texts through every serving path: each way by which a text reaches the classifier of a bundle.

`rows` chooses the texts, one module per group of paths sends them, `compare` finds where the outcomes differ, and `run` does all
three. Another comparison is `orchestration.steps.reconciliation`: of stored predictions of the stream with those of Gold.
"""

"""Resume what is asked to be forgotten: by notices, or by a call that was killed."""

from data.forgetting import Request
from orchestration.layout import Layout
from serving.forgetting import pending
from serving.forgetting.everywhere import Outcome, forget_everywhere
from serving.forgetting.stores import stores_of


def forget(layout: Layout, root: str, requests: list[Request]) -> Outcome:
    """Forget requests, and all pending ones, in every store; see `forget_everywhere`.

    Args:
        layout: Paths of the stores.
        root: Folder or URI of the lakehouse's tables.
        requests: New ones.
    """
    return forget_everywhere(layout.var, stores_of(layout.var, root), requests)


def forget_pending(layout: Layout, root: str) -> Outcome | None:
    """Forget what is pending, if anything is; None: nothing is."""
    return forget(layout, root, []) if pending.read(layout.var)[0] else None

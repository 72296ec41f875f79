"""The problem documents for what `serving.web_guard` refuses."""

from collections.abc import Collection, MutableMapping
from typing import Any

from serving.service import problems
from serving.service.problems import Refused
from serving.web_guard import Foreign, foreign, host_of


def refuse_foreign(scope: MutableMapping[str, Any], hosts: Collection[str]) -> None:
    """Raise if a page of another site sent the request or WebSocket, or if it is meant for another host.

    Args:
        scope: Of the connection.
        hosts: Names under which the service is reached, in addition to localhost and IP addresses; `*`: any.

    Raises:
        Refused: 400 or 403.
    """
    match foreign(scope, hosts):
        case Foreign.HOST_TWICE as reason:
            raise Refused(problems.BAD_REQUEST, reason)
        case Foreign.HOST:
            host = host_of(scope)[:100]
            detail = f"The host {host!r} is not among GROUNDSWELL_SERVING__HOSTS. Use the service's address, or add the name."
            raise Refused(problems.HOST_NOT_ALLOWED, detail)
        case Foreign.CROSS_SITE as reason:
            raise Refused(problems.CROSS_SITE, reason)
        case None:
            return

"""Ctrl-C that Python would lose."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_S = 0.1


@contextmanager
def no_interrupt_lost(raised: type[BaseException]) -> Iterator[None]:
    """Send SIGINT again if Python dropped what its handler raised.

    An exception in a destructor or the callback of a weak reference goes to `sys.unraisablehook` and the program continues, also
    where the exception is the handler's and has nothing to do with the object.

    Args:
        raised: What the handler raises. One that ignores further signals from then on is set again as it is now.
    """
    before, handler = sys.unraisablehook, signal.getsignal(signal.SIGINT)

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, raised):
            before(dropped)
            return
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, handler)
        # Later, since here it would be dropped again; and to the main thread, whose waiting it must end.
        main_thread = threading.main_thread().ident
        threading.Timer(AGAIN_S, signal.pthread_kill, (main_thread, signal.SIGINT)).start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before

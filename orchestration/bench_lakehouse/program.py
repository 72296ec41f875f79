"""`python -m orchestration.bench_lakehouse.program KIND {...}`: one side of a measurement, told what to do on standard input."""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from data.errors import GroundswellError
from orchestration.bench_lakehouse.child import own_output
from orchestration.runs import hush


def _bulk(given: dict[str, Any]) -> Any:
    from orchestration.bench_lakehouse.contestants import Bulk

    return Bulk(**given)


def _judges(given: dict[str, Any]) -> Any:
    from orchestration.bench_lakehouse.contestants import Judges

    return Judges(**given)


def _stream(given: dict[str, Any]) -> Any:
    from orchestration.bench_lakehouse.layers import Stream

    return Stream(**given)


def _batches(given: dict[str, Any]) -> Any:
    from orchestration.bench_lakehouse.layers import Batches

    return Batches(**given)


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bulk": _bulk,
    "judges": _judges,
    "stream": _stream,
    "batches": _batches,
}
"""Each is imported only where it runs: Spark, MLflow and torch take seconds and memory."""


def main(kind: str, given: dict[str, Any]) -> None:
    """Make it, say so, then do one thing a line until there are no more."""
    channel = own_output()
    # Ctrl-C is for whoever asks; that one closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hush()

    def say(**answer: Any) -> None:
        channel.write(json.dumps(answer) + "\n")
        channel.flush()

    try:
        side = KINDS[kind](given)
    except Exception as error:
        say(error=_words(error))
        return
    try:
        with suppress(BrokenPipeError):  # nobody waits for the answer any more
            say(done=None)
            for line in sys.stdin:
                asked = json.loads(line)
                try:
                    answer = {"done": getattr(side, asked.pop("do"))(**asked)}
                except Exception as error:
                    answer = {"error": _words(error)}
                say(**answer)
    finally:
        side.close()


def _words(error: Exception) -> str:
    traceback.print_exception(error)
    return str(error) if isinstance(error, GroundswellError) else f"{type(error).__name__}: {str(error).splitlines()[0]}"


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

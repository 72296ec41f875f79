"""`python -m benchmarks.lakehouse.program KIND {...}`: a measured program that reads commands from standard input."""

import json
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmarks.lakehouse.child import own_output
from data.errors import GroundswellError
from orchestration.runs import silence_libraries


def _bulk(given: dict[str, Any]) -> Any:
    from benchmarks.lakehouse.systems import Bulk

    return Bulk(**given)


def _writers(given: dict[str, Any]) -> Any:
    from benchmarks.lakehouse.systems import GoldWriters

    return GoldWriters(**given)


def _stream(given: dict[str, Any]) -> Any:
    from benchmarks.lakehouse.layers import Stream

    return Stream(**given)


def _batches(given: dict[str, Any]) -> Any:
    from benchmarks.lakehouse.layers import Batches

    return Batches(**given)


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bulk": _bulk,
    "writers": _writers,
    "stream": _stream,
    "batches": _batches,
}
"""The programs by kind. Each is imported only where it runs: Spark, MLflow and torch take seconds and memory."""


def main(kind: str, given: dict[str, Any]) -> None:
    """Create the program, report it, then run one command per line until standard input ends."""
    channel = own_output()
    # Ctrl-C is handled by the parent process, which then closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_libraries()

    def reply(**content: Any) -> None:
        channel.write(json.dumps(content) + "\n")
        channel.flush()

    try:
        program = KINDS[kind](given)
    except Exception as error:
        reply(error=_message(error))
        return
    try:
        with suppress(BrokenPipeError):  # the parent process has ended
            reply(done=None)
            for line in sys.stdin:
                command = json.loads(line)
                try:
                    content = {"done": getattr(program, command.pop("do"))(**command)}
                except Exception as error:
                    content = {"error": _message(error)}
                reply(**content)
    finally:
        program.close()


def _message(error: Exception) -> str:
    traceback.print_exception(error)
    return str(error) if isinstance(error, GroundswellError) else f"{type(error).__name__}: {str(error).splitlines()[0]}"


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))

"""The command line that all benchmarks share, and what it names."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from data.errors import BundleError, GroundswellError
from data.settings_registry import check_settings
from orchestration.progress import print_error, terminal_console
from orchestration.runs import silence_libraries
from serving.bundle import Bundle, read_bundle, served_bundle


def parser(
    name: str, description: str, sections: Iterable[str], rounds: int, *, checkpoint: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has.

    Args:
        name: The benchmark, such as `api`: the module and the file of the numbers are named for it.
        description: What it measures.
        sections: Names for `--only`.
        rounds: Default of `--rounds`.
        checkpoint: Whether a peer needs the checkpoint of the bundle.
    """
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--bundle", type=Path, help="bundle to measure (default: the production model's)")
    if checkpoint:
        made.add_argument(
            "--checkpoint", type=Path, help="checkpoint it was exported from (default: that of the candidate's name)"
        )
    made.add_argument("--rounds", type=int, default=rounds, help=f"rounds (default {rounds})")
    known = list(sections)
    made.add_argument("--only", nargs="+", choices=known, metavar="NAME", default=known, help=f"sections: {', '.join(known)}")
    made.add_argument("--json", type=Path, help=f"file for the numbers (default var/bench/{name}.json)")
    return made


def find_bundle(given: argparse.Namespace) -> Bundle:
    """Return the bundle that was named, or that of production."""
    return read_bundle(given.bundle) if given.bundle else served_bundle()


def find_checkpoint(bundle: Bundle, named: Path | None) -> Path:
    """Return the checkpoint that a bundle was exported from.

    Raises:
        BundleError: It is not there.
    """
    checkpoint = named or bundle.directory.resolve().parents[1] / "candidates" / bundle.manifest.name / "checkpoint"
    if not (checkpoint / "config.json").is_file():
        raise BundleError(
            f"No checkpoint for {bundle.manifest.version}.",
            found=checkpoint,
            remedy="Name the folder it was exported from: --checkpoint DIR",
        )
    return checkpoint


def run(main: Callable[[], None]) -> None:
    """Run a benchmark's `main`; an error is printed without a traceback and ends the program with its exit code."""
    try:
        check_settings()
        silence_libraries()
        main()
    except GroundswellError as error:
        sys.exit(print_error(terminal_console(), error))

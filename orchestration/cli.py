"""The `groundswell` command. Every heavy import waits until its command runs, so that `--help` answers at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from data.errors import GroundswellError
from orchestration.lakehouse_cli import lakehouse_app
from orchestration.progress import print_error, terminal_console
from orchestration.stream_cli import stream_app, warehouse_app

app = typer.Typer(
    name="groundswell",
    help=(
        "Own your sentiment models end to end. Start with [bold]groundswell demo[/], or step by step: "
        "[bold]data[/] → [bold]train[/] → [bold]benchmark[/] → [bold]export[/] → [bold]promote[/] → [bold]serve[/].\n\n"
        "Settings: a profile (GROUNDSWELL_PROFILE=offline, hub or production), then GROUNDSWELL_<SECTION>__<FIELD>, then flags."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = terminal_console()
errors = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON and nothing else.")]
BundleDir = Annotated[Path | None, typer.Option("--bundle", help="A bundle folder; without it the production bundle answers.")]


def _set(**settings: Any) -> None:
    """Flags go above the environment: write them there, where every section reads them."""
    for name, value in settings.items():
        if value is not None:
            os.environ[f"GROUNDSWELL_{name.upper()}"] = str(value)


@app.command()
def data() -> None:
    """Fetch labelled texts, check them, and make splits without repeats and leaks."""
    from orchestration.runs import run_assets, show_data

    run_assets("data")
    show_data(console)


@app.command()
def train(
    rows: Annotated[int | None, typer.Option(help="Train on at most this many rows (default: all).", min=100)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.", min=1)] = None,
    only: Annotated[bool, typer.Option("--only", help="Stop after training: no benchmark, export or gate.")] = False,
) -> None:
    """Train every candidate; then benchmark, export, gate and register the best. Killed, it goes on where it stopped."""
    from orchestration.runs import run_assets, show_leaderboard, show_verdict

    _set(training__max_train_rows=rows, training__epochs=epochs)
    run_assets("train" if only else "release")
    if not only:
        show_leaderboard(console)
        show_verdict(console)


@app.command()
def benchmark() -> None:
    """Judge all candidates on the frozen test split: quality with intervals, slices, behaviour, cost."""
    from orchestration.runs import run_assets, show_leaderboard

    run_assets("benchmark")
    show_leaderboard(console)


@app.command()
def export(
    quantization: Annotated[
        str | None, typer.Option(help="exact: passes parity, else fp32. fast: recall passes, flips are stated.")
    ] = None,
) -> None:
    """Export the winner to ONNX, quantize it, check that it still answers the same, and write the bundle."""
    from orchestration.runs import run_assets, show_ladder

    _set(training__quantization=quantization)
    run_assets("export")
    show_ladder(console)


@app.command()
def promote() -> None:
    """Ask the gate; if it says yes, register the bundle, deploy it, and let it be `production`."""
    from orchestration.runs import run_assets, show_verdict

    run_assets("deploy")
    show_verdict(console)


@app.command()
def rollback(reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "asked for by hand") -> None:
    """Go back to the version before: one move of the alias, and the deployment follows."""
    from orchestration.layout import Layout
    from orchestration.steps.release import roll_back

    version = roll_back(Layout.load(), reason=reason)
    console.print(f"production is version [bold]{version}[/] again.")


@app.command()
def leaderboard(as_json: AsJson = False) -> None:
    """Show the last benchmark: every candidate, quality with 95 % intervals beside what an answer costs."""
    from orchestration.layout import Layout
    from orchestration.steps.evaluation import read_leaderboard

    rows = read_leaderboard(Layout.load())
    if as_json:
        _print_json(rows)
        return
    from orchestration.runs import show_leaderboard

    show_leaderboard(console)


@app.command()
def classify(texts: Annotated[list[str], typer.Argument(help="One or more texts.")], bundle: BundleDir = None,
             as_json: AsJson = False) -> None:  # fmt: skip
    """Classify texts with the production bundle, here, without a server."""
    from orchestration.scoring import open_classifier

    classifier = open_classifier(bundle)
    results = classifier.classify(texts)
    if as_json:
        _print_json([{"text": text, **_plain(result)} for text, result in zip(texts, results, strict=True)])
        return
    from rich.table import Table

    table = Table("label", "confidence", "text", box=None, header_style="dim")
    colours = {"negative": "red", "neutral": "yellow", "positive": "green"}
    for text, result in zip(texts, results, strict=True):
        table.add_row(f"[{colours[result.label]}]{result.label}[/]", f"{result.confidence:.4f}", text)
    console.print(table)


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet, of any size.")],
    text_column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    label_column: Annotated[str | None, typer.Option(help="The column with the right label; none: only classify.")] = None,
    bundle: BundleDir = None,
    out: Annotated[Path | None, typer.Option(help="Write one prediction a row here (.csv, .jsonl or .parquet).")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Classify a file in bounded memory; with labels, print accuracy, F1 and recall with 95 % intervals."""
    from orchestration.scoring import as_table, score_labelled_file

    row = score_labelled_file(
        file, text_column=text_column, label_column=label_column, bundle=bundle, out=out, console=None if as_json else console
    )  # fmt: skip
    if as_json:
        _print_json(row)
    else:
        console.print(as_table(row))


@app.command()
def serve(port: Annotated[int | None, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = None) -> None:
    """Serve the production bundle over HTTP in the foreground; API docs at /docs. Ctrl-C stops it."""
    from orchestration.serve import serve_production

    _set(serving__port=port)
    raise typer.Exit(serve_production(console))


@app.command()
def stop() -> None:
    """Stop the deployment that `promote` left running."""
    from orchestration.layout import Layout
    from serving.deployment import stop as stop_deployment

    console.print("stopped." if stop_deployment(Layout.load().deployment) else "Nothing runs.")


keys_app = typer.Typer(help="API keys, for a service that asks for them (GROUNDSWELL_SERVING__KEYS=true).", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="classify (default), feedback, dashboard, admin; several may be given.")
    ] = None,
    rate: Annotated[str, typer.Option(help="Texts it may have judged, such as 10/second.")] = "6000/minute",
) -> None:
    """Make a key. It is printed once; only its hash is kept."""
    print(_keys().add(name, scope or ["classify"], rate))  # plain, so that it can be piped
    errors.print("Keep it: it cannot be shown again.")


@keys_app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Who has a key, for what, since when; revoked ones too."""
    import dataclasses

    from rich.table import Table

    known = _keys().list()
    if as_json:
        _print_json([dataclasses.asdict(key) for key in known])
        return
    table = Table("id", "name", "scopes", "rate", "created", "revoked", box=None, header_style="dim")
    for key in known:
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), key.rate, key.created_at, key.revoked_at or "")
    console.print(table)


@keys_app.command("revoke")
def revoke_key(identity: Annotated[str, typer.Argument(metavar="ID", help="As `groundswell keys list` shows it.")]) -> None:
    """End a key; services that run refuse it at once."""
    _keys().revoke(identity)
    console.print(f"{identity} is revoked.")


def _keys() -> Any:
    from data.settings import PathSettings
    from serving.service.keys import keys_of

    return keys_of(PathSettings.load().var)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything and exit at the end.")] = False,
    rows: Annotated[int | None, typer.Option(help="Rows to train on.", min=100)] = None,
) -> None:
    """Watch Groundswell do its whole job on real tweets: labelled text in, a model that answers out."""
    from orchestration.demo import run_demo

    _set(training__max_train_rows=rows)
    run_demo(console, once=once)


@app.command()
def dagster(port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 3001) -> None:
    """Show the graph, its runs and checks in Dagster, guarded against other sites' pages. Ctrl-C stops it."""
    from orchestration.dagster_ui import serve_dagster

    serve_dagster(port)


@app.command()
def doctor() -> None:
    """Say what is installed, reachable and missing, with the remedy."""
    from orchestration.doctor import as_table, examine

    findings = examine()
    console.print(as_table(findings))
    raise typer.Exit(1 if any(finding.state == "missing" for finding in findings) else 0)


def _plain(value: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else dict(value)  # type: ignore[arg-type]


def _print_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")


app.add_typer(stream_app, name="stream")
app.add_typer(warehouse_app, name="warehouse")
app.add_typer(lakehouse_app, name="lakehouse")


def main() -> None:
    """Entry point: errors made for people are printed as such; Ctrl-C ends with 130."""
    try:
        app(standalone_mode=True)
    except GroundswellError as error:
        sys.exit(print_error(errors, error))
    except SystemExit as end:
        if end.code == 130:  # typer's answer to Ctrl-C, which says nothing
            errors.print("Stopped. What was finished is kept; the same command goes on from there.")
        raise


if __name__ == "__main__":
    main()

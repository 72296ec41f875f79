"""The `groundswell` command. Heavy imports wait until their command runs, so that `--help` is fast."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from data.errors import GroundswellError
from data.names import did_you_mean
from orchestration.cli.automation import automation_app
from orchestration.cli.forget import forget
from orchestration.cli.lakehouse import lakehouse_app
from orchestration.cli.models import models_app
from orchestration.cli.output import AsJson, BundleDir, DomainName, TierName, console, errors, print_json
from orchestration.cli.stream import stream_app
from orchestration.cli.warehouse import warehouse_app
from orchestration.interrupts import no_interrupt_lost
from orchestration.progress import print_error

START, PIPELINE, SERVE, OPERATE = "Start", "Pipeline", "Serve", "Stream and lakehouse"
"""Groups of commands in `groundswell --help`."""

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
WithUpstream = Annotated[
    bool, typer.Option("--with-upstream", help="First fetch, validate and train whatever is missing or changed: about an hour.")
]


@app.callback()
def _start() -> None:
    """Check the spelling of all settings before every command, whatever sections the command loads."""
    if "--help" not in sys.argv:
        from data.settings_registry import check_settings

        check_settings()


@app.command(rich_help_panel=START, epilog="Example: groundswell demo --once")
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything and exit at the end.")] = False,
    rows: Annotated[int | None, typer.Option(help="Rows to train on.", min=100)] = None,
) -> None:
    """Run the whole pipeline on real tweets, from labeled text to a served model and a live dashboard."""
    from orchestration.demo.tour import run_demo

    if not run_demo(console, once=once, rows=rows):
        raise typer.Exit(130)


@app.command(rich_help_panel=START, epilog="Example: groundswell doctor")
def doctor() -> None:
    """Check packages, services, data and models; print a remedy for each problem."""
    from orchestration.cli.doctor import as_table, examine

    findings = examine()
    console.print(as_table(findings))
    raise typer.Exit(1 if any(finding.state == "missing" for finding in findings) else 0)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell data")
def data() -> None:
    """Fetch labeled texts, validate them, and make splits without duplicates and leakage."""
    from orchestration.runs import run_assets
    from orchestration.terminal.results import show_data

    run_assets("data")
    show_data(console)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell train --rows 6000 --epochs 1")
def train(
    rows: Annotated[int | None, typer.Option(help="Train on at most this many rows (default: all).", min=100)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.", min=1)] = None,
    only: Annotated[bool, typer.Option("--only", help="Stop after training: no benchmark, export or gate.")] = False,
    candidate: Annotated[
        str | None, typer.Option(help="Train this one and stop; the only way to train one that is on request, such as mpnet.")
    ] = None,
) -> None:
    """Train every candidate; then benchmark, export, gate and register the best. Resumes after an interruption."""
    from orchestration.runs import run_assets
    from orchestration.terminal.results import show_gate_decision, show_leaderboard
    from training.settings import TrainingSettings

    flags = {"max_train_rows": rows, "epochs": epochs}
    TrainingSettings.load(**flags)  # an invalid value ends the command here, before the graph is loaded
    if candidate is not None:
        from training.candidates import trainable

        run_assets("train", candidate=trainable(candidate).name, settings={"training": flags})
        return
    run_assets("train" if only else "release", settings={"training": flags})
    if not only:
        show_leaderboard(console)
        show_gate_decision(console)


def _run_trained(
    target: str, with_upstream: bool, settings: dict[str, dict[str, Any]] | None = None, *, large: str | None = None
) -> None:
    """Run the steps after training; training itself only with `--with-upstream`. A large model is asked between the two."""
    from orchestration.runs import run_assets

    if with_upstream and not large:
        run_assets(target, settings=settings)
        return
    if with_upstream:
        run_assets("train", settings=settings)
    from orchestration.layout import Layout
    from orchestration.steps.training import require_trained

    if note := require_trained(Layout.load()):
        console.print(f"[yellow]{escape(note)}[/]", highlight=False)
    if large:
        run_assets(target, candidate=large)
    run_assets(target, after="train", settings=settings)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell benchmark --candidate gpt-zero-shot")
def benchmark(
    with_upstream: WithUpstream = False,
    candidate: Annotated[
        str | None,
        typer.Option(help="Ask this large model first: requests cost money, up to its budget in candidates.yaml."),
    ] = None,
) -> None:
    """Evaluate the trained candidates on the frozen test split: quality with intervals, slices, behavior, cost."""
    from orchestration.terminal.results import show_leaderboard

    name = None
    if candidate is not None:
        from training.candidates import large_model

        name = large_model(candidate).name
    _run_trained("benchmark", with_upstream, large=name)
    show_leaderboard(console)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell transfer --rows 2000")
def transfer(rows: Annotated[int | None, typer.Option(help="Most training rows of a domain.", min=100)] = None) -> None:
    """Train a model for each domain and two of all, and evaluate each on every domain: hours on two cores; resumable."""
    from orchestration.runs import run_assets
    from orchestration.terminal.results import show_transfer

    run_assets("transfer", settings={"transfer": {"rows": rows}})
    show_transfer(console)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell export --quantization exact")
def export(
    quantization: Annotated[
        str | None,
        typer.Option(help="exact: a variant that passes parity, else fp32. fast: recall must pass, flips are reported."),
    ] = None,
    with_upstream: WithUpstream = False,
) -> None:
    """Export the winner to ONNX, quantize it, check that its predictions stay the same, and write the bundle."""
    from orchestration.terminal.results import show_export_variants
    from training.settings import TrainingSettings

    TrainingSettings.load(quantization=quantization)
    _run_trained("export", with_upstream, {"training": {"quantization": quantization}})
    show_export_variants(console)


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell promote")
def promote(with_upstream: WithUpstream = False) -> None:
    """Run the promotion gate; if it passes, register the bundle, deploy it and set `production`."""
    from orchestration.terminal.results import show_gate_decision

    _run_trained("deploy", with_upstream)
    show_gate_decision(console)


@app.command(rich_help_panel=PIPELINE, epilog='Example: groundswell rollback --reason "complaints about refunds"')
def rollback(reason: Annotated[str, typer.Option(help="Kept in the ledger.")] = "requested on the command line") -> None:
    """Return to the previous version: one move of the alias, and the deployment follows."""
    from orchestration.layout import Layout
    from orchestration.steps.release import roll_back

    version = roll_back(Layout.load(), reason=reason)
    console.print(f"production is version [bold]{version}[/] again.")


@app.command(rich_help_panel=PIPELINE, epilog="Example: groundswell leaderboard --format csv")
def leaderboard(
    format: Annotated[
        Literal["table", "csv", "json"], typer.Option(help="table: for people; csv: its columns; json: everything.")
    ] = "table",
    as_json: AsJson = False,
) -> None:
    """Show the last benchmark: quality with 95 % intervals and cost of every candidate."""
    from orchestration.layout import Layout
    from orchestration.steps.evaluation import read_leaderboard

    rows = read_leaderboard(Layout.load())
    if as_json or format == "json":
        print_json([row.to_dict() for row in rows])
        return
    if format == "csv":
        from evaluation.leaderboard import as_csv

        sys.stdout.write(as_csv(rows))
        return
    from orchestration.terminal.results import show_leaderboard

    show_leaderboard(console)


_CLASSIFY_OPTIONS = ("--bundle", "--tier", "--domain", "--target", "--allow-private", "--json", "--help")


@app.command(
    rich_help_panel=SERVE,
    epilog='Example: groundswell classify "Three hours on hold. Never again."',
    context_settings={"ignore_unknown_options": True},  # a text may begin with a dash
)
def classify(
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT...|FILE|URL",
            help="One or more texts; - reads one per line from stdin. Or a document of up to 20 MiB, a file or a URL: "
            "a filing (10-K, 10-Q, 8-K), an article or a plain text.",
        ),
    ],
    bundle: BundleDir = None,
    tier: TierName = "base",
    domain: DomainName = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A company, such as Tesco or $AAPL: its score from -1 to 1; may be given several times."),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also get URLs of private networks and of this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Classify texts or a document with the production bundle, in this process, without a server."""
    from orchestration.terminal.documents import classify_document, document_tables, names_document
    from orchestration.terminal.scoring import classify_texts, predictions_table, texts_from, warning_line

    if any(map(names_document, texts)):
        if target:
            raise typer.BadParameter("--target is for texts: a document has no scores by company.")
        if len(texts) > 1:
            raise typer.BadParameter(f"One document at a time: found {len(texts)} arguments. Run the command for each of them.")
        shown = None if as_json else console
        result = classify_document(texts[0], bundle, tier, domain, allow_private=allow_private, console=shown)
        if as_json:
            print_json(result)
        else:
            console.print(document_tables(result))
            if warning := result.get("warning"):
                errors.print(f"[yellow]{escape(warning)}[/]", highlight=False, soft_wrap=True)
        return

    for text in texts:
        is_option = text.startswith("--") and len(text.split()) == 1
        if is_option and (remedy := did_you_mean(text, _CLASSIFY_OPTIONS)):
            raise typer.BadParameter(f"No such option: {text}. {remedy}")
    if texts == ["-"] and sys.stdin.isatty():
        errors.print("One text per line; Ctrl-D ends.")
    results = classify_texts(texts_from(sys.stdin.buffer) if texts == ["-"] else texts, bundle, tier, domain, target or ())
    if as_json:
        print_json(results)
    else:
        console.print(predictions_table(results))
        if warning := warning_line(results):
            errors.print(f"[yellow]{escape(warning)}[/]", highlight=False, soft_wrap=True)
    if all("error" in result for result in results):
        raise typer.Exit(1)


@app.command(rich_help_panel=SERVE, epilog="Example: groundswell score data/samples/support.csv --label-column label")
def score(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON (all also .gz or .zip) or Parquet of any size, or XLSX.")],
    text_column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    label_column: Annotated[
        str | None,
        typer.Option(
            help="The column with the true label: of sentiment, or sarcastic / not_sarcastic; without it, classify only."
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(help="comma, tab, semicolon, pipe or one character; none: a line is a text.", show_default="detected"),
    ] = None,
    quoting: Annotated[
        str | None,
        typer.Option(
            help='quoted ("" within quotes), escaped (\\") or none (a quotation mark is a character).', show_default="detected"
        ),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Such as utf-8, utf-16, cp1252.", show_default="detected")] = None,
    names: Annotated[
        str | None, typer.Option(help="Names of the columns, with commas between them, for a file without a header.")
    ] = None,
    bundle: BundleDir = None,
    tier: TierName = "base",
    domain: DomainName = None,
    out: Annotated[
        Path | None, typer.Option(help="Write one prediction per row to this file (.csv, .jsonl or .parquet).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Classify a file in bounded memory; with labels, print accuracy, F1 and recall with 95 % intervals."""
    from orchestration.terminal.scoring import as_table, read_as_options, score_labeled_file

    row = score_labeled_file(
        file,
        text_column=text_column,
        label_column=label_column,
        read_as=read_as_options(delimiter=delimiter, quoting=quoting, encoding=encoding, names=names),
        bundle=bundle,
        tier=tier,
        domain=domain,
        out=out,
        console=None if as_json else console,
    )
    if as_json:
        print_json(row)
    else:
        console.print(as_table(row))


@app.command(rich_help_panel=SERVE, epilog="Example: groundswell serve --port 3000")
def serve(port: Annotated[int | None, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = None) -> None:
    """Serve the production bundle over HTTP in the foreground; API docs at /docs. Ctrl-C stops it."""
    from orchestration.cli.serve import serve_production

    raise typer.Exit(serve_production(console, port=port))


@app.command(rich_help_panel=SERVE, epilog="Example: groundswell stop")
def stop() -> None:
    """Stop the deployment that `promote` left running."""
    from orchestration.layout import Layout
    from serving.deployment import stop as stop_deployment

    console.print("Stopped." if stop_deployment(Layout.load().deployment) else "No deployment is running.")


keys_app = typer.Typer(help="API keys, for a service that requires them (GROUNDSWELL_SERVING__KEYS=true).", no_args_is_help=True)
app.add_typer(keys_app, name="keys", rich_help_panel=SERVE)


@keys_app.command("add", epilog='Example: groundswell keys add "support desk" --rate 10/second')
def add_key(
    name: Annotated[str, typer.Argument(help="The client that will use it.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="classify (default), feedback, dashboard, admin; several may be given.")
    ] = None,
    rate: Annotated[str, typer.Option(help="Limit of texts, such as 10/second.")] = "6000/minute",
) -> None:
    """Create a key. It is printed once; only its hash is stored."""
    print(_keys().add(name, scope or ["classify"], rate))  # plain, so that it can be piped
    errors.print("Keep it: it cannot be shown again.")


@keys_app.command("list", epilog="Example: groundswell keys list")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys with name, scopes, rate and dates, revoked ones too."""
    from rich.table import Table

    known = _keys().list()
    if as_json:
        print_json([dataclasses.asdict(key) for key in known])
        return
    table = Table("id", "name", "scopes", "rate", "created", "revoked", box=None, header_style="dim")
    for key in known:
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), key.rate, key.created_at, key.revoked_at or "")
    console.print(table)


@keys_app.command("revoke", epilog="Example: groundswell keys revoke 1a2b3c4d")
def revoke_key(identity: Annotated[str, typer.Argument(metavar="ID", help="An id from `groundswell keys list`.")]) -> None:
    """Revoke a key; running services refuse it at once."""
    _keys().revoke(identity)
    console.print(f"{identity} is revoked.")


def _keys() -> Any:
    from data.settings import PathSettings
    from serving.service.middleware.keys import keys_of

    return keys_of(PathSettings.load().var)


@app.command(rich_help_panel=OPERATE, epilog="Example: groundswell reconcile --rows 200 --paths classify,http,job,stream")
def reconcile(
    rows: Annotated[
        int, typer.Option(help="Texts: labeled rows of every dataset, and hard characters.", min=2, max=10_000)
    ] = 2000,
    paths: Annotated[
        str | None,
        typer.Option(
            help="With commas between them: classify, http, job, stream, spark, lambda, mlflow, bento. The others are compared "
            "with the first.",
            show_default="all",
        ),
    ] = None,
    bundle: BundleDir = None,
    as_json: AsJson = False,
) -> None:
    """Send the same texts through every serving path, and list where labels or probabilities differ; then exit with 1."""
    import signal

    from orchestration.terminal.serving_paths import reconcile as run
    from orchestration.terminal.serving_paths import show

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the processes of a path would outlive this command
    result = run(bundle=bundle, rows=rows, paths=paths, console=errors if as_json else console)
    if as_json:
        print_json(dataclasses.asdict(result) | {"equal": result.are_equal})
    else:
        show(console, result)
    if not result.are_equal:
        raise typer.Exit(1)


@app.command(rich_help_panel=OPERATE, epilog="Example: groundswell dagster --port 3001")
def dagster(port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=1, max=65535)] = 3001) -> None:
    """Show the graph, its runs and checks in Dagster; requests of other sites' pages are refused. Ctrl-C stops it."""
    from orchestration.local.dagster_ui import serve_dagster

    serve_dagster(port)


app.command(rich_help_panel=OPERATE, epilog="Example: groundswell forget --message 1712345678901234567")(forget)
app.add_typer(models_app, name="models", rich_help_panel=PIPELINE)
app.add_typer(automation_app, name="automation", rich_help_panel=OPERATE)
app.add_typer(stream_app, name="stream", rich_help_panel=OPERATE)
app.add_typer(warehouse_app, name="warehouse", rich_help_panel=OPERATE)
app.add_typer(lakehouse_app, name="lakehouse", rich_help_panel=OPERATE)


def main() -> None:
    """Entry point: print Groundswell's errors without a traceback; exit with 130 on Ctrl-C."""
    try:
        with no_interrupt_lost(KeyboardInterrupt):
            app(standalone_mode=True)
    except GroundswellError as error:
        sys.exit(print_error(errors, error))
    except SystemExit as end:
        if end.code == 130:  # typer exits so on Ctrl-C, and prints nothing
            errors.print("Stopped. Finished steps are kept; run the same command again to resume.")
        raise

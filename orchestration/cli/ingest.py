"""`groundswell stream ingest`: one command for each connector. Heavy imports wait until their command runs."""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from data.domains import Domain
from data.errors import StreamError
from orchestration.cli.output import console, errors
from orchestration.progress import print_error

if TYPE_CHECKING:
    from serving.streaming.feeds.entries import Connector
    from serving.streaming.feeds.ingest import Totals

ingest_app = typer.Typer(
    help="Bring texts from feeds and social networks to the topic of messages, until Ctrl-C. A new start continues there.",
    no_args_is_help=True,
)

Once = Annotated[bool, typer.Option("--once", help="Read each feed once, then end; exit status 1 if one failed.")]
Limit = Annotated[int | None, typer.Option(help="End after this many messages.", min=1)]
Source = Annotated[str | None, typer.Option(help="The source of the messages (default: see the command).")]
OfDomain = Annotated[Domain | None, typer.Option("--domain", help="The domain of the messages.")]
Contact = Annotated[str | None, typer.Option(help="Your e-mail address, sent to the server in User-Agent.")]
Private = Annotated[bool, typer.Option("--allow-private", help="Allow servers on this machine and in private networks.")]


@ingest_app.command(epilog="Example: groundswell stream ingest rss https://news.example/feed.xml --domain news")
def rss(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Addresses of RSS, Atom or JSON feeds.")],
    interval: Annotated[float, typer.Option(help="Seconds between two polls; a feed may ask for more.", min=1)] = 300.0,
    domain: OfDomain = None,
    source: Source = None,
    contact: Contact = None,
    once: Once = False,
    limit: Limit = None,
    allow_private: Private = False,
) -> None:
    """Read RSS, Atom and JSON feeds. The source of a message is the feed's host, its domain that of the source."""
    from serving.processes import stop_on_signals
    from serving.streaming.feeds.fetching import Fetcher
    from serving.streaming.feeds.rss import RssFeed

    stop = stop_on_signals()
    fetcher = Fetcher(stop, contact=contact, allow_private=allow_private)
    feeds = [RssFeed(url, fetcher, source=source, domain=domain, interval_s=interval) for url in dict.fromkeys(urls)]
    _run(feeds, stop, fetcher.close, once=once, limit=limit)


@ingest_app.command(epilog="Example: groundswell stream ingest edgar --contact you@example.org --form 8-K")
def edgar(
    contact: Contact = None,
    forms: Annotated[
        list[str] | None, typer.Option("--form", help="Form of the filings, with its amendments; repeat it (default: 8-K).")
    ] = None,
    ciks: Annotated[
        list[int] | None, typer.Option("--cik", min=1, max=9_999_999_999, help="A company's number; repeat it (default: all).")
    ] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two polls of a list.", min=1)] = 60.0,
    domain: OfDomain = "finance",
    source: Source = None,
    once: Once = False,
    limit: Limit = None,
) -> None:
    """Read filings of EDGAR, the SEC's archive: the press release of each, else its main document. The source is `edgar`."""
    from serving.processes import stop_on_signals
    from serving.streaming.feeds.edgar import LEAST_GAP_S, EdgarFilings, require_contact
    from serving.streaming.feeds.fetching import Fetcher

    contact = require_contact(contact)
    stop = stop_on_signals()
    fetcher = Fetcher(stop, contact=contact, least_gap_s=LEAST_GAP_S)
    names = [*dict.fromkeys(form.upper() for form in forms or ["8-K"])]
    lists: list[tuple[list[str], int | None]] = [([name], None) for name in names]
    if ciks:
        lists = [(names, cik) for cik in dict.fromkeys(ciks)]
    feeds = [EdgarFilings(fetcher, form, cik, source=source, domain=domain, interval_s=interval) for form, cik in lists]
    _run(feeds, stop, fetcher.close, once=once, limit=limit)


@ingest_app.command(epilog="Example: groundswell stream ingest mastodon mastodon.example --tag economy")
def mastodon(
    instance: Annotated[str, typer.Argument(help="The instance, such as mastodon.example.")],
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A hashtag; repeat it (default: the public timeline).")] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two polls of a timeline.", min=1)] = 30.0,
    domain: OfDomain = "tweets",
    source: Source = None,
    contact: Contact = None,
    once: Once = False,
    limit: Limit = None,
    allow_private: Private = False,
) -> None:
    """Read the public timeline or hashtags of a Mastodon instance, without an account. The source is the instance."""
    from serving.processes import stop_on_signals
    from serving.streaming.feeds.fetching import Fetcher
    from serving.streaming.feeds.mastodon import MastodonTimeline

    stop = stop_on_signals()
    fetcher = Fetcher(stop, contact=contact, allow_private=allow_private)
    feeds = [
        MastodonTimeline(instance, fetcher, tag=tag, source=source, domain=domain, interval_s=interval)
        for tag in dict.fromkeys(tags or [None])
    ]
    _run(feeds, stop, fetcher.close, once=once, limit=limit)


@ingest_app.command(epilog="Example: groundswell stream ingest bluesky --limit 1000")
def bluesky(
    service: Annotated[str | None, typer.Option(help="Another Jetstream, such as wss://host/subscribe.")] = None,
    domain: OfDomain = "tweets",
    source: Source = None,
    once: Once = False,
    limit: Limit = None,
    allow_private: Private = False,
) -> None:
    """Read all public posts of Bluesky from Jetstream, without an account, and follow deletions. The source is `bluesky`."""
    from serving.processes import stop_on_signals
    from serving.streaming.feeds.bluesky import SERVICE, BlueskyPosts

    stop = stop_on_signals()
    feed = BlueskyPosts(service=service or SERVICE, source=source, domain=domain, allow_private=allow_private)
    _run([feed], stop, lambda: None, once=once, limit=limit)


def _run(
    feeds: "Sequence[Connector]", stop: threading.Event, close: Callable[[], None], *, once: bool, limit: int | None
) -> None:
    """Read the feeds until it is over; print each round that brought something, failures, and the totals."""
    from orchestration.cli.stream import stream_settings
    from orchestration.layout import Layout
    from serving.streaming.broker import client_config
    from serving.streaming.feeds.ingest import ACKNOWLEDGE_S, Ingest
    from serving.streaming.producer import Sender

    settings = stream_settings()
    lost: list[str] = []

    def failed(label: str, error: StreamError, pause_s: float | None) -> None:
        print_error(errors, error)
        if pause_s is None:
            lost.append(label)
        if not once:
            again = f"next try in {pause_s:,.0f} s" if pause_s is not None else "not tried again"
            errors.print(f"  [dim]{escape(label)}: {again}.[/]", highlight=False)

    def done(label: str, round_: "Totals") -> None:
        if round_.sent or round_.reasons.total():
            console.print(f"[dim]·[/] {escape(label)}: {escape(_counts(round_))}", highlight=False)

    def connect() -> Sender:
        return Sender.connect(client_config(settings), settings.topic, ACKNOWLEDGE_S)

    if not once:
        console.print(f"To {settings.topic} at {settings.bootstrap}. Ctrl-C stops it; the next start continues there.")
    loop = Ingest(feeds, Layout.load().feeds, connect, stop, on_round=done, on_failure=failed)
    try:
        with console.status(f"Reading {len(feeds)} feed{'s' * (len(feeds) != 1)}"):  # a poll may take a minute
            totals = loop.run(once=once, limit=limit)
    finally:
        close()
    console.print(f"{_counts(totals)}, from {len(feeds)} feed{'s' * (len(feeds) != 1)}.", highlight=False)
    if (once and totals.failures) or len(lost) == len(feeds):
        raise typer.Exit(1)


def _counts(done: "Totals") -> str:
    parts = [f"{done.sent:,} message{'s' * (done.sent != 1)} sent"]
    parts += [f"{done.edits:,} changed"] * bool(done.edits) + [f"{done.notices:,} deletions"] * bool(done.notices)
    parts += [f"{count:,} × {reason}" for reason, count in sorted(done.reasons.items()) if count]
    return ", ".join(parts)

"""Converts alerts between shifts, rows of the table, messages of the topic and Slack messages; reads the mutes of sources."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from data.contracts import Alert, AlertWord
from serving.streaming.alerts.detector import Shift, points

_COLUMNS = list(Alert.model_fields)
_WORD_COLUMNS = list(AlertWord.model_fields)


def alert_of(
    source: str, shift: Shift, texts: Iterable[str] = (), words: Iterable[AlertWord] = (), *, muted: bool = False
) -> Alert:
    """Return the alert of a shift: revision 1 while it is open, 2 once it is closed."""
    return Alert(
        id=sha256(f"{source}\0{shift.started}".encode()).hexdigest()[:16],
        source=source,
        direction="down" if shift.z < 0 else "up",
        started_at=time_of(shift.started),
        detected_at=time_of(shift.detected + 1),
        closed_at=None if shift.closed is None else time_of(shift.closed),
        z=round(shift.z, 2),
        moving_average=round(shift.moving_average, 4),
        baseline_mean=round(shift.mean, 4),
        baseline_std=round(shift.std, 4),
        volume=shift.volume,
        window_s=shift.window_s,
        texts=tuple(texts),
        revision=1 if shift.closed is None else 2,
        words=tuple(words),
        usual_volume=shift.usual_volume,
        muted=muted,
    )


def shift_of(alert: Alert) -> Shift:
    """Return the shift of an alert, to resume from after a restart."""
    return Shift(
        started=int(alert.started_at.timestamp()),
        detected=int(alert.detected_at.timestamp()) - 1,
        closed=None if alert.closed_at is None else int(alert.closed_at.timestamp()),
        z=alert.z,
        moving_average=alert.moving_average,
        mean=alert.baseline_mean,
        std=alert.baseline_std,
        volume=alert.volume,
        window_s=alert.window_s,
        usual_volume=alert.usual_volume,
    )


def read_alerts(client: Any, since: datetime) -> list[Alert]:
    """Return the alerts that are open or were closed since a time, oldest first, each in its newest revision."""
    rows = client.query(
        f"SELECT {', '.join(_COLUMNS)} FROM alerts FINAL "
        "WHERE closed_at IS NULL OR closed_at >= toDateTime64({since:UInt32}, 3) ORDER BY started_at",
        parameters={"since": max(0, int(since.timestamp()))},
    ).result_rows
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    times = ("started_at", "detected_at", "closed_at")
    return [Alert.model_validate({k: _utc(v) if k in times and v is not None else v for k, v in row.items()}) for row in named]


def write_alerts(client: Any, alerts: Sequence[Alert]) -> None:
    """Write alerts to the table; writing the same alert again has no effect."""
    if not alerts:
        return
    rows = []
    for alert in alerts:
        row = {name: getattr(alert, name) for name in _COLUMNS}
        row["words"] = [tuple(getattr(word, name) for name in _WORD_COLUMNS) for word in alert.words]
        rows.append(list(row.values()))
    client.insert("alerts", rows, column_names=_COLUMNS)


def muted_sources(client: Any, at: datetime) -> set[str]:
    """Return the sources that are muted at a time."""
    rows = client.query(
        "SELECT source FROM alert_mutes FINAL WHERE muted_until > toDateTime64({at:Float64}, 3)",
        parameters={"at": at.timestamp()},
    ).result_rows
    return {row[0] for row in rows}


def slack_message(alert: Alert) -> tuple[str, list[dict[str, Any]]]:
    """Return one line for people, and Slack blocks with that line and the texts and words that drive the shift."""
    if alert.closed_at is None:
        moved = points(alert.moving_average) - points(alert.baseline_mean)
        line = (
            f"Sentiment of {alert.source} went {alert.direction} by {abs(moved):.1f} points "
            f"to {points(alert.moving_average):.1f} of 100 since {alert.started_at:%H:%M:%S} UTC "
            f"(z {alert.z:+.1f}, {alert.volume:,} messages in {alert.window_s} s{_usually(alert)})."
        )
    else:
        lasted = (alert.closed_at - alert.started_at).total_seconds()
        how = "is normal again" if shift_of(alert).end_known else "stays at the new level, which counts as normal from now on"
        line = f"Sentiment of {alert.source} {how}: it was {alert.direction} for {lasted / 60:.1f} minutes (alert {alert.id})."
    blocks = [_block(_escaped(line))]
    if alert.closed_at is None and alert.words:
        listed = ", ".join(f"*{_escaped(word.word)}* ({word.share:.0%}, usually {word.usual_share:.0%})" for word in alert.words)
        blocks.append(_block(f"Words more frequent than usual: {listed}"))
    if alert.closed_at is None and alert.texts:
        blocks.append(_block("\n".join("> " + _escaped(" ".join(text.split())[:200]) for text in alert.texts)))
    return line, blocks


def _usually(alert: Alert) -> str:
    return "" if alert.usual_volume is None else f", usually {alert.usual_volume:,.0f}"


def _block(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:2900]}}


def _escaped(text: str) -> str:
    """Escape the three characters that Slack requires, and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def time_of(second: float) -> datetime:
    """Return the time of a second since 1970, in UTC."""
    return datetime.fromtimestamp(second, UTC)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

"""Read the state and last tick of schedules and sensors, and turn them on or off. Needs no running daemon.

The state is in Dagster's own store, which `dagster dev` uses too: a switch here changes its pages, and the reverse.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from data.errors import GroundswellError
from data.names import unknown_name
from data.settings import project_root

if TYPE_CHECKING:
    import dagster as dg

DAEMON_SILENT_AFTER = timedelta(seconds=120)
"""A daemon writes a heartbeat every 30 s, and one that is busy a little later."""
_DAEMONS = ("SCHEDULER", "SENSOR")


@dataclass(frozen=True)
class Automation:
    """A schedule or sensor."""

    name: str
    kind: str
    """schedule or sensor."""
    on: bool
    rule: str
    """A cron expression in UTC, or the interval of a sensor."""
    description: str
    next_at: datetime | None
    """When it ticks next while a daemon runs; None when it is off, or a sensor that has not ticked yet."""
    last_at: datetime | None = None
    last: str | None = None
    """The result of the last tick: the runs requested, the reason for none, or the error."""


def read_automations(instance: "dg.DagsterInstance") -> list[Automation]:
    """Every schedule and sensor of the code location, by name. Reads only."""
    return [_read(instance, remote) for remote in _remotes(instance).values()]


def switch(instance: "dg.DagsterInstance", name: str, *, on: bool) -> Automation:
    """Turn a schedule or sensor on or off; repeating it changes nothing.

    Raises:
        GroundswellError: No schedule or sensor has this name; the remedy names the nearest.
    """
    remotes = _remotes(instance)
    if name not in remotes:
        otherwise = "See `groundswell automation status`."
        raise unknown_name(GroundswellError, "schedule or sensor", name, remotes, otherwise=otherwise)
    remote = remotes[name]
    if _is_schedule(remote):
        if on:
            instance.start_schedule(remote)
        else:
            instance.stop_schedule(remote.get_remote_origin_id(), remote.selector_id, remote)
    elif on:
        instance.start_sensor(remote)
    else:
        instance.stop_sensor(remote.get_remote_origin_id(), remote.selector_id, remote)
    return _read(instance, remote)


def daemon_seen_at(instance: "dg.DagsterInstance") -> datetime | None:
    """Return the last heartbeat of the Dagster daemon that evaluates schedules and sensors; None: there was none."""
    heartbeats = instance.get_daemon_heartbeats()
    seen = [heartbeats[kind].timestamp for kind in _DAEMONS if kind in heartbeats]
    return datetime.fromtimestamp(min(seen), UTC) if len(seen) == len(_DAEMONS) else None


def daemon_runs(seen_at: datetime | None) -> bool:
    """Return whether that heartbeat is recent enough for a running daemon."""
    return seen_at is not None and datetime.now(UTC) - seen_at < DAEMON_SILENT_AFTER


def _remotes(instance: "dg.DagsterInstance") -> dict[str, Any]:
    """Return schedules and sensors under the ids of Dagster's store: by the code location of workspace.yaml, running or not."""
    from dagster._core.remote_representation.external import RemoteRepository
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._core.remote_representation.handle import RepositoryHandle
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    from orchestration.definitions import defs

    [location] = WorkspaceFileTarget([str(project_root() / "workspace.yaml")]).create_origins()
    repository = defs.get_repository_def()
    handle = RepositoryHandle(
        repository_name=repository.name, code_location_origin=location, repository_python_origin=None, display_metadata={}
    )
    remote = RemoteRepository(RepositorySnap.from_def(repository), handle, instance.auto_materialize_use_sensors)
    return {one.name: one for one in [*remote.get_schedules(), *remote.get_sensors()]}


def _is_schedule(remote: Any) -> bool:
    from dagster._core.remote_representation.external import RemoteSchedule

    return isinstance(remote, RemoteSchedule)


def _read(instance: "dg.DagsterInstance", remote: Any) -> Automation:
    ids = remote.get_remote_origin_id(), remote.selector_id
    state = remote.get_current_instigator_state(instance.get_instigator_state(*ids))
    tick = next(iter(instance.get_ticks(*ids, limit=1)), None)
    last_at = datetime.fromtimestamp(tick.timestamp, UTC) if tick else None
    schedule = _is_schedule(remote)
    return Automation(
        name=remote.name,
        kind="schedule" if schedule else "sensor",
        on=state.is_running,
        rule=f"{remote.cron_schedule} {remote.execution_timezone}" if schedule else f"every {remote.min_interval_seconds} s",
        description=remote.description or "",
        next_at=_next_tick(remote, last_at) if state.is_running else None,
        last_at=last_at,
        last=_outcome(tick) if tick else None,
    )


def _next_tick(remote: Any, last_at: datetime | None) -> datetime | None:
    now = datetime.now(UTC)
    if _is_schedule(remote):
        return next(remote.execution_time_iterator(now.timestamp())).astimezone(UTC)
    return max(last_at + timedelta(seconds=remote.min_interval_seconds), now) if last_at else None


def _outcome(tick: Any) -> str:
    if tick.error is not None:
        return f"failed: {tick.error.message.strip().splitlines()[-1]}"
    if tick.run_ids:
        return f"requested {len(tick.run_ids)} run{'s' if len(tick.run_ids) > 1 else ''}: {', '.join(tick.run_ids)}"
    return f"nothing to do: {tick.skip_reason}" if tick.skip_reason else tick.status.value.lower()

"""Free disk space: writes on behalf of callers are refused before the disk is full, so that all else continues."""

import shutil
from collections.abc import Callable
from pathlib import Path


class NoSpace(Exception):
    """The disk is nearly full; the message has the free share and the remedy."""


class Disk:
    """The disk that holds a folder."""

    def __init__(
        self, folder: Path, least_free: float, usage: Callable[[Path], "tuple[int, int, int]"] = shutil.disk_usage
    ) -> None:
        """Make it.

        Args:
            folder: Need not exist yet.
            least_free: Share of the disk, 0 to 1, below which `require_space` refuses.
            usage: Bytes of a folder's disk: total, used, free to this user.
        """
        self._folder, self._least_free, self._usage = folder, least_free, usage

    def free_share(self) -> float | None:
        """Share of the disk that is free, 0 to 1; None: unknown. Takes microseconds.

        As `df` counts: of the bytes that this user may have, since some disks reserve more than a half for the system.
        """
        existing = next((place for place in (self._folder, *self._folder.parents) if place.exists()), Path("/"))
        try:
            _, used, free = self._usage(existing)
        except OSError:
            return None
        return free / (used + free) if used + free else None

    def has_space(self) -> bool:
        """Whether more may be written."""
        share = self.free_share()
        return share is None or share >= self._least_free

    def require_space(self) -> None:
        """Raise if the disk is nearly full.

        Raises:
            NoSpace: Less is free than has to stay free.
        """
        if not self.has_space():
            free = self.free_share() or 0.0
            raise NoSpace(
                f"Disk nearly full: {free:.0%} is free; jobs and feedback need {self._least_free:.0%}. Free disk space."
            )

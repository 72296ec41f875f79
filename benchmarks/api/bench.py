"""What every section uses: the bundle, texts, servers (each started at its first use) and rounds."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.api.load import Loader
from benchmarks.api.servers import Server, Spec, start
from benchmarks.api.systems import OURS, SETTINGS, TITLES, groundswell, peer
from benchmarks.harness.rounds import Progress, Result, in_turns
from benchmarks.harness.texts import Texts
from data.cleaning import clean
from data.errors import GroundswellError
from serving.bundle import Bundle
from serving.classifier import Classifier

CALLERS = 64
_TRIAL_S, _WARM_S = 4, 1
_CHECKS = 8


class Bench:
    """One run of the benchmark. Its servers are stopped when the `with` block ends, also after an error."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        texts: Texts,
        folder: Path,
        progress: Progress,
        loader: Loader,
        *,
        seconds: float,
        rounds: int,
    ) -> None:
        """Create the run; servers are not started yet.

        Args:
            bundle: Served by our service and by the peers on ONNX Runtime.
            checkpoint: The checkpoint the bundle was exported from, for the peer on torch.
            texts: Texts that do not repeat.
            folder: `var/bench`.
            progress: Shows the progress.
            loader: Sends the load.
            seconds: Length of a measurement.
            rounds: Each measurement runs once per round.
        """
        self.bundle, self.checkpoint, self.texts, self.folder = bundle, checkpoint, texts, folder
        self.progress, self.loader, self.seconds, self.rounds = progress, loader, seconds, rounds
        self.trials: dict[str, dict[str, float]] = {}
        """Requests per second of each peer with each of its settings."""
        self.missing: dict[str, str] = {}
        """Peers that do not run on this machine, with the reason."""
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        self._home = Path()
        self._checks: list[tuple[str, str]] = []

    def __enter__(self) -> "Bench":
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-api-")))
        self._checks = readiness_checks(Classifier(self.bundle), self.texts)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def requests(self, seconds: float, per_s: float = 2000) -> list[list[str]]:
        """Return requests of one new text each, enough for `per_s` requests per second."""
        return [[text] for text in self.texts.take(round(seconds * per_s) + CALLERS)]

    def ours(self) -> Server:
        """Return our service with the measured bundle; start it at the first call."""
        if OURS not in self._servers:
            self._servers[OURS] = self.start(groundswell(self.bundle, self._home / OURS))
        return self._servers[OURS]

    def all_servers(self, peers: Iterable[str] = SETTINGS) -> dict[str, Server]:
        """Return our service and the peers that run on this machine, each with its fastest setting."""
        found = {OURS: self.ours()}
        for name in peers:
            if name not in self._servers and name not in self.missing:
                try:
                    self._servers[name] = self._fastest(name)
                except GroundswellError as error:
                    self.missing[name] = str(error).replace("\n", ";")
                    self.progress.note(f"{TITLES[name]} is left out: {self.missing[name]}")
            if name in self._servers:
                found[name] = self._servers[name]
        return found

    def start(self, spec: Spec, checks: list[tuple[str, str]] | None = None) -> Server:
        """Start a server for the rest of the run; it is paused except while it is measured."""
        self.progress(f"starting {spec.title}", None)
        server = self._open(spec, checks)
        self._stack.callback(server.stop)
        return server

    def home(self, name: str) -> Path:
        """Return a folder that is removed at the end of the run."""
        return self._home / name

    def in_turns(self, sides: Mapping[str, Callable[[int], Result]]) -> dict[str, list[Result]]:
        """Run every side once per round (`rounds.in_turns`)."""
        return in_turns(sides, self.rounds, self.progress)

    def _open(self, spec: Spec, checks: list[tuple[str, str]] | None = None) -> Server:
        server = start(spec, self.folder / "logs", checks or self._checks)
        try:
            self.loader.closed(server, self.requests(_WARM_S), callers=CALLERS, seconds=_WARM_S)
        except BaseException:
            server.stop()
            raise
        return server

    def _fastest(self, name: str) -> Server:
        best: tuple[float, Spec] | None = None
        trials = self.trials.setdefault(name, {})
        before, settings = sum(map(len, self.trials.values())), sum(map(len, SETTINGS.values()))
        for number, setting in enumerate(SETTINGS[name]):
            spec = peer(name, setting, self.bundle, self.checkpoint, self.folder / "envs", self._home / name)
            self.progress(f"trying {spec.title}, {spec.setting}", (before + number) / settings)
            server = self._open(spec)
            try:
                trial = self.loader.closed(server, self.requests(_TRIAL_S), callers=CALLERS, seconds=_TRIAL_S)
            finally:
                server.stop()
            trials[spec.setting] = trial.per_s
            if best is None or trial.per_s > best[0]:
                best = trial.per_s, spec
        assert best is not None
        return self.start(best[1])


def readiness_checks(classifier: Classifier, texts: Texts) -> list[tuple[str, str]]:
    """Return the texts with the most confident predictions and their labels: a server with other labels serves another model."""
    candidates = [clean(text) for text in texts.take(256)]
    predicted = zip(candidates, classifier.classify(candidates), strict=True)
    return [(text, one.label) for text, one in sorted(predicted, key=lambda pair: -pair[1].confidence)[:_CHECKS]]

"""What every section needs: the bundle, texts, servers that are started when first asked for, rounds."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from data.cleaning import clean
from data.errors import GroundswellError
from orchestration.bench_api.contestants import OURS, SETTINGS, TITLES, groundswell, peer
from orchestration.bench_api.figures import Goal
from orchestration.bench_api.load import Loader
from orchestration.bench_api.servers import Server, Spec, start
from orchestration.bench_api.texts import Texts
from serving.bundle import Bundle
from serving.classifier import Classifier

CALLERS = 64
_TRIAL_S, _WARM_S = 4, 1
_CHECKS = 8

Found = TypeVar("Found")


class Tell(Protocol):
    """Hears how far a section is, and what a person has to see."""

    def __call__(self, message: str, fraction: float | None) -> None:
        """The running section says how far it is."""

    def note(self, text: str) -> None:
        """Leave a line."""


@dataclass
class Outcome:
    """What a section found."""

    columns: list[str]
    rows: list[list[str]]
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: Any = None
    """For the JSON file."""
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """For the plot: 99th percentile in ms against the share of capacity, by server."""


class Bench:
    """One run. Servers are ended when the `with` block is left, however it is left."""

    def __init__(
        self,
        bundle: Bundle,
        checkpoint: Path,
        texts: Texts,
        folder: Path,
        tell: Tell,
        loader: Loader,
        *,
        seconds: float,
        rounds: int,
    ) -> None:
        """Make it.

        Args:
            bundle: What our service and the peers on ONNX Runtime serve.
            checkpoint: What the bundle was exported from, for the peer on torch.
            texts: Texts that do not repeat.
            folder: `var/bench`.
            tell: Told how far it is.
            loader: Sends the load.
            seconds: A measurement.
            rounds: Each measurement comes once a round.
        """
        self.bundle, self.checkpoint, self.texts, self.folder = bundle, checkpoint, texts, folder
        self.tell, self.loader, self.seconds, self.rounds = tell, loader, seconds, rounds
        self.trials: dict[str, dict[str, float]] = {}
        """Requests a second of each peer with each of its settings."""
        self.missing: dict[str, str] = {}
        """Peers that do not run here, and why."""
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}
        self._home = Path()
        self._checks: list[tuple[str, str]] = []

    def __enter__(self) -> "Bench":
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-api-")))
        self._checks = certain(Classifier(self.bundle), self.texts)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def requests(self, seconds: float, per_s: float = 2000) -> list[list[str]]:
        """Enough single new texts to send so many a second."""
        return [[text] for text in self.texts.take(round(seconds * per_s) + CALLERS)]

    def ours(self) -> Server:
        """Our service with the bundle under measurement."""
        if OURS not in self._servers:
            self._servers[OURS] = self.start(groundswell(self.bundle, self._home / OURS))
        return self._servers[OURS]

    def everyone(self) -> dict[str, Server]:
        """All four, or those of them that run here; each peer with the setting in which it is fastest."""
        found = {OURS: self.ours()}
        for name in SETTINGS:
            if name not in self._servers and name not in self.missing:
                try:
                    self._servers[name] = self._fastest(name)
                except GroundswellError as error:
                    self.missing[name] = str(error).replace("\n", ";")
                    self.tell.note(f"{TITLES[name]} is left out: {self.missing[name]}")
            if name in self._servers:
                found[name] = self._servers[name]
        return found

    def start(self, spec: Spec, checks: list[tuple[str, str]] | None = None) -> Server:
        """Start a server for the rest of the run; it is held until it is measured."""
        self.tell(f"starting {spec.title}", None)
        server = self._open(spec, checks)
        self._stack.callback(server.stop)
        return server

    def home(self, name: str) -> Path:
        """A folder that goes away with the run."""
        return self._home / name

    def in_turns(self, sides: Mapping[str, Callable[[int], Found]]) -> dict[str, list[Found]]:
        """Every side once a round, in an order that turns; each is told the number of the round."""
        found: dict[str, list[Found]] = {name: [] for name in sides}
        names = list(sides)
        for index in range(self.rounds):
            for turn in range(len(names)):
                name = names[(index + turn) % len(names)]
                self.tell(f"round {index + 1} of {self.rounds}: {name}", (index + turn / len(names)) / self.rounds)
                found[name].append(sides[name](index))
        return found

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
            self.tell(f"trying {spec.title}, {spec.setting}", (before + number) / settings)
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


def certain(classifier: Classifier, texts: Texts) -> list[tuple[str, str]]:
    """Texts that the model is surest of, with their labels: a server that gives others does not serve this model."""
    asked = [clean(text) for text in texts.take(256)]
    answers = zip(asked, classifier.classify(asked), strict=True)
    return [(text, found.label) for text, found in sorted(answers, key=lambda pair: -pair[1].confidence)[:_CHECKS]]

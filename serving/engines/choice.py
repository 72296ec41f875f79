"""Choose the engine of a bundle: the one that the settings name, or the cheapest on this CPU with the same predictions."""

import importlib.metadata
import json
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data.artifacts import digest, read_json, write_json
from data.errors import BundleError, GroundswellError
from data.settings import project_root
from serving.bundle import MODEL, PARITY, Bundle
from serving.engines.engine import DEFAULT_ENGINE, ENGINES, Engine, EngineName, describe_cpu, open_engine
from serving.engines.parity import compare, read_parity, run_all
from serving.settings import EngineSetting

MEASURE_S = 60.0
"""Most time for measuring, in seconds; two to ten are usual. Then the default engine is used."""
LEAST_GAIN = 0.1
"""Share of CPU time that an engine must save to be chosen over the default one: a smaller one may be noise."""

_log = logging.getLogger(__name__)
Chosen = Literal["setting", "measured", "fallback"]


@dataclass(frozen=True)
class EngineChoice:
    """A loaded engine, and why it is the one."""

    engine: Engine
    chosen: Chosen
    """`setting`: named by the settings; `measured`: the cheapest on this CPU; `fallback`: the others could not be measured."""
    reason: str
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By engine, as `serving.engines.measure` prints it; empty if nothing was measured."""
    cpu: dict[str, str] = field(default_factory=describe_cpu)

    def describe(self) -> dict[str, Any]:
        """Return the JSON form: engine, version, threads, why, the measurement, and this CPU."""
        engine = self.engine
        about = {"name": engine.name, "version": engine.version, "threads": engine.threads}
        return about | {"chosen": self.chosen, "reason": self.reason, "measured": self.measured, "cpu": self.cpu}


def engine_cache(var: Path) -> Path:
    """Return the folder of measurements."""
    return var / "engines"


def choose_engine(bundle: Bundle, setting: EngineSetting, threads: int, cache: Path) -> EngineChoice:
    """Load the engine of a bundle.

    Args:
        bundle: A verified bundle.
        setting: `serving.engine`. With `auto`, all engines are measured on the bundle's parity set, which takes seconds, and
            the result is kept in `cache` for this CPU, these versions and this bundle. If that fails, the default engine is
            loaded and one line is logged.
        threads: Threads of one call.
        cache: Folder of measurements, see `engine_cache`.

    Raises:
        SettingsError: `setting` names an engine that is not installed.
        BundleError: The model cannot be loaded, or `setting` names another engine than the default one and the bundle has no
            parity set, or the engine does not pass it on this CPU.
    """
    model = bundle.directory / MODEL
    if setting != "auto":
        engine = open_engine(setting, model, threads)
        if setting != DEFAULT_ENGINE:
            _require_parity(bundle, engine)
        return EngineChoice(engine, "setting", f"serving.engine is {setting}")
    try:
        measured = _measured(bundle, threads, cache)
        name, reason = decide(measured)
        return EngineChoice(open_engine(name, model, threads), "measured", reason, measured)
    except (GroundswellError, OSError, subprocess.SubprocessError, ValueError) as error:
        reason = _one_line(error)
        _log.warning("Engine of %s not measured, %s is used: %s", bundle.manifest.version, DEFAULT_ENGINE, reason)
        return EngineChoice(open_engine(DEFAULT_ENGINE, model, threads), "fallback", reason)


def decide(measured: dict[str, dict[str, Any]]) -> tuple[EngineName, str]:
    """Return the engine to use by a measurement, and why: the cheapest that passed, if it saves at least `LEAST_GAIN`."""
    cpu_us: dict[EngineName, float] = {name: us for name in ENGINES if (us := measured[name]["cpu_us"]) is not None}
    failed = [f"{name}: {measured[name]['reason']}" for name in ENGINES if measured[name]["reason"]]
    if not cpu_us:
        raise BundleError("No engine passes parity on this CPU.", found="; ".join(failed))
    best = min(cpu_us, key=lambda name: cpu_us[name])
    if DEFAULT_ENGINE in cpu_us and cpu_us[best] > (1 - LEAST_GAIN) * cpu_us[DEFAULT_ENGINE]:
        best = DEFAULT_ENGINE
    figures = ", ".join(f"{name} {us:,.0f} µs" for name, us in cpu_us.items())
    return best, "; ".join([f"CPU per text: {figures}", *failed])


def _measured(bundle: Bundle, threads: int, cache: Path) -> dict[str, dict[str, Any]]:
    """Return the measurement for this CPU, these versions and this bundle, made now if it is not in `cache`."""
    _require_parity_set(bundle)
    key = {
        "bundle": bundle.fingerprint,
        "parity": bundle.manifest.files[PARITY],
        "threads": threads,
        "cpu": describe_cpu(),
        "versions": {name: _version(name) for name in ENGINES},
    }
    file = cache / f"{digest(key)[:32]}.json"
    if known := _known(file):
        return known
    done = subprocess.run(
        [sys.executable, "-m", "serving.engines.measure", str(bundle.directory.resolve()), str(threads)],
        cwd=project_root(),  # so that the process finds this code
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MEASURE_S,
        check=False,
    )
    if done.returncode != 0:
        end = done.stderr.strip().rpartition("\n")[2]
        raise BundleError(f"the process that measures ended with {done.returncode}: {end or 'no message'}")
    measured = json.loads(done.stdout)
    decide(measured)  # raises if no engine passed: that is not cached
    if known := _known(file):  # another process was faster: all use the same result
        return known
    try:
        write_json(file, {"key": key, "measured": measured})
    except GroundswellError as error:  # a full or read-only disk: it is measured again at the next start
        _log.warning("%s", error.message)
    return measured


def _one_line(error: Exception) -> str:
    if isinstance(error, GroundswellError):
        return error.message if error.found is None else f"{error.message} {error.found}"
    return str(error).strip().partition("\n")[0]


def _known(file: Path) -> dict[str, dict[str, Any]] | None:
    """Return a measurement from the cache; None if it was never made, or the file is damaged."""
    try:
        known = read_json(file)["measured"]
        decide(known)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, GroundswellError):
        return None
    return known


def _require_parity_set(bundle: Bundle) -> None:
    if PARITY not in bundle.manifest.files:
        raise BundleError(
            f"Bundle {bundle.manifest.version} has no parity set.",
            expected=PARITY,
            remedy="Export it again, or set GROUNDSWELL_SERVING__ENGINE=onnxruntime.",
        )


def _require_parity(bundle: Bundle, engine: Engine) -> None:
    _require_parity_set(bundle)
    parity_set = read_parity(bundle.directory / PARITY)
    if reason := compare(parity_set, run_all(engine, parity_set)).reason:
        raise BundleError(
            f"{engine.name} does not predict on this CPU what bundle {bundle.manifest.version} predicted at export.",
            found=reason,
            remedy="Set GROUNDSWELL_SERVING__ENGINE=onnxruntime.",
        )


def _version(name: EngineName) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

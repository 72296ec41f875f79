"""The one artifact that every path serves: a folder with `bundle.json`, `model.onnx`, `tokenizer.json` and `card.md`, and with
`model_<tier>.onnx` of each smaller tier (serving/tiers.py).

Writing is atomic; reading verifies every checksum and raises for a format that this version does not read.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.artifacts import atomic_folder, digest, read_json, sha256_file, write_json, write_text
from data.cleaning import CLEANING_VERSION
from data.domains import GENERAL
from data.errors import BundleError
from data.labels import LABELS
from data.language import ENGLISH
from data.settings import PathSettings
from data.tokenization import TOKENIZATION_VERSION
from serving.ledger import current_moves, ledger_path
from serving.tiers import AUTO, BASE, NAME, Calibration, Heads, OperatingPoint, Tier, tier_file

FORMAT_VERSION = 2
"""2: tiers."""
BUNDLE_ENV = "GROUNDSWELL_BUNDLE_DIR"
_INSIDE = Path(__file__).resolve().parents[1] / "bundle"
MODEL, TOKENIZER, CARD, MANIFEST = "model.onnx", "tokenizer.json", "card.md", "bundle.json"
PARITY = "parity.npz"
"""Optional: token ids and float32 logits, to check an engine on the CPU that serves (`serving/engines/parity.py`)."""

_TRAIN_AGAIN = (
    "Its model was trained on texts that were cleaned and tokenized by other rules: train it again (groundswell train), or "
    "serve it with the version of Groundswell that made it."
)


class Manifest(BaseModel):
    """`bundle.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: int = FORMAT_VERSION
    name: str
    version: str
    labels: tuple[str, ...] = LABELS
    languages: tuple[str, ...] = ENGLISH
    """Languages of the texts that it was trained and measured on, such as `en`."""
    heads: Heads = (GENERAL,)
    sarcasm: Calibration | None = None
    """Of the output for sarcasm of `base`; None: it has none."""
    targets: bool = False
    """Whether `base` learned from texts about one company each, so that it can score companies (serving/targets.py)."""
    max_length: int = Field(ge=3, le=8192)
    """Most tokens of one run of the model, special tokens included; a longer text is classified by windows of this many."""
    temperature: float = Field(default=1.0, gt=0)
    """Logits of `base` are divided by it."""
    thresholds: dict[str, float] | None = None
    """Least probability of each label; below it the text is neutral. None: the most probable label."""
    tokenizer_version: str = TOKENIZATION_VERSION
    cleaning_version: str = CLEANING_VERSION
    parent_run: str | None = None
    """MLflow run that made it."""
    data_fingerprint: str = ""
    metrics: dict[str, Any] = {}
    """Measures of this bundle on the frozen test rows: quality with intervals, CPU, memory, size; `float32`: before export."""
    training: dict[str, Any] = {}
    """`rows` used of `rows_available`, `epochs`, `seed`, `trained_at`, and the same rows by dataset."""
    quantization: str = "fp32"
    tiers: dict[Annotated[str, Field(pattern=NAME)], Tier] = {}
    """Smaller models by name, the cheapest first; `base` is described by the fields above."""
    points: tuple[OperatingPoint, ...] = ()
    """The operating points that are worth their cost, the cheapest first, `base` last; none without tiers."""
    files: dict[str, str] = {}
    """SHA-256 of each file but `bundle.json`."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose checksums were verified."""

    directory: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Equal for bundles with equal predictions: hash of model, tokenizer and decision rule, not of time, run or card."""
        return _fingerprint(self.manifest)

    @property
    def tiers(self) -> tuple[str, ...]:
        """`base`, then the smaller tiers, the cheapest first."""
        return (BASE, *self.manifest.tiers)

    @property
    def points(self) -> tuple[str, ...]:
        """All that a text may be classified by: the tiers, `auto`, and the operating points by name."""
        return tuple(dict.fromkeys((*self.tiers, AUTO, *(point.name for point in self.manifest.points))))

    @cached_property  # asked for each text
    def heads(self) -> tuple[str, ...]:
        """`general`, and every domain for which `base` or a smaller tier has a head."""
        theirs = (self.manifest.heads, *(tier.heads for tier in self.manifest.tiers.values()))
        return tuple(dict.fromkeys(head for heads in theirs for head in heads))

    def head_for(self, domain: str | None) -> str:
        """Return the head that a domain asks for: its own, or `general` where no tier has one."""
        return domain if domain in self.heads else GENERAL


def _fingerprint(manifest: Manifest) -> str:
    decisive = manifest.model_dump(
        mode="json",
        include={
            "format_version",
            "labels",
            "max_length",
            "temperature",
            "thresholds",
            "tokenizer_version",
            "cleaning_version",
        },
    )
    heads = [list(manifest.heads)] if len(manifest.heads) > 1 else []
    rules = [[[point.tier, point.threshold, point.macro_recall] for point in manifest.points]] if manifest.tiers else []
    tiers = [
        [
            name,
            tier.temperature,
            manifest.files[tier_file(name)],
            *([list(tier.heads)] if len(tier.heads) > 1 else []),
            *_sarcasm(tier.sarcasm),
        ]
        for name, tier in manifest.tiers.items()
    ]
    base = [manifest.files[MODEL], manifest.files[TOKENIZER], *heads, *_sarcasm(manifest.sarcasm)]
    return digest([decisive, *base, *rules, *tiers])


def _sarcasm(calibration: Calibration | None) -> list[dict[str, float]]:
    return [] if calibration is None else [calibration.model_dump()]


def write_bundle(
    directory: Path,
    *,
    model_file: Path,
    tokenizer_file: Path,
    card: str,
    name: str,
    max_length: int,
    version: str | None = None,
    tier_files: Mapping[str, Path] | None = None,
    parity_file: Path | None = None,
    **manifest: Any,
) -> Bundle:
    """Write a bundle atomically; an existing folder is replaced.

    Args:
        directory: The folder to create.
        model_file: ONNX, `input_ids, attention_mask` int64 (N, L) to `logits` float32 (N, 3), or (N, D, 3) with D > 1 heads, and
            with `sarcasm` in the manifest `sarcasm` float32 (N, 1).
        tokenizer_file: `tokenizer.json`.
        card: The model card, Markdown.
        name: Name of the model.
        max_length: Most tokens of one run of the model.
        version: None: made from the name and the fingerprint, so that the same model has the same version.
        tier_files: The model of each tier in `tiers`, as `model_file`.
        parity_file: Of `serving/engines/parity.py`; None: the bundle is served on the default engine only.
        manifest: Other fields of `Manifest`.
    """
    with atomic_folder(directory) as folder:
        shutil.copyfile(model_file, folder / MODEL)
        for tier, file in (tier_files or {}).items():
            shutil.copyfile(file, folder / tier_file(tier))
        shutil.copyfile(tokenizer_file, folder / TOKENIZER)
        write_text(folder / CARD, card)
        if parity_file is not None:
            shutil.copyfile(parity_file, folder / PARITY)
        names = [MODEL, TOKENIZER, CARD, *([PARITY] if parity_file else []), *map(tier_file, tier_files or {})]
        files = {file: sha256_file(folder / file) for file in names}
        made = Manifest(name=name, version=version or "", max_length=max_length, files=files, **manifest)
        if version is None:
            made = made.model_copy(update={"version": f"{name}-{_fingerprint(made)[:12]}"})
        write_json(folder / MANIFEST, made.model_dump(mode="json"))
    return Bundle(directory, made)


def read_bundle(directory: Path) -> Bundle:
    """Read a bundle and verify it.

    Raises:
        BundleError: A file is missing or changed, or this version cannot read the bundle: another format, other labels,
            cleaning or tokenization.
    """
    path = directory / MANIFEST
    try:
        raw = read_json(path)
        manifest = Manifest.model_validate(raw)
    except FileNotFoundError:
        raise BundleError(f"No bundle in {directory}.", expected=MANIFEST, remedy="groundswell export writes one.") from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read.", found=error) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(
            f"{path} is not a bundle this version reads.",
            found=f"{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}",
            expected=f"format_version {FORMAT_VERSION}",
            remedy="Export it again with this version.",
        ) from None
    understood = {
        "format_version": FORMAT_VERSION,
        "labels": LABELS,
        "cleaning_version": CLEANING_VERSION,
        "tokenizer_version": TOKENIZATION_VERSION,
    }
    for field, expected in understood.items():
        if (found := getattr(manifest, field)) != expected:
            raise BundleError(
                f"Bundle {directory} has an unsupported {field}.",
                found=found,
                expected=expected,
                remedy=_TRAIN_AGAIN
                if field in ("cleaning_version", "tokenizer_version")
                else "Export it again with this version.",
            )
    for file in (MODEL, TOKENIZER, CARD, *([PARITY] if PARITY in manifest.files else []), *map(tier_file, manifest.tiers)):
        try:
            found = sha256_file(directory / file)
        except OSError as error:
            raise BundleError(f"Bundle {directory} lacks {file}.", found=error, remedy="Copy the whole bundle again.") from error
        if found != manifest.files.get(file):
            raise BundleError(
                f"{directory / file} is not the file that was written.",
                found=found,
                expected=manifest.files.get(file, "a checksum in bundle.json"),
                remedy="Copy the bundle again, or export it again.",
            )
    return Bundle(directory, manifest)


def read_card(bundle: Bundle) -> str:
    """Read the model card, Markdown."""
    return (bundle.directory / CARD).read_text(encoding="utf-8")


def alias_bundle(var: Path, alias: str) -> Bundle:
    """Read the bundle that an alias of the registry points to.

    Raises:
        BundleError: The alias has no bundle, or its bundle is damaged.
    """
    move = current_moves(var).get(alias)
    if move is None:
        raise BundleError(
            f"No model has the alias {alias!r} yet.",
            expected=f"an entry in {ledger_path(var)}",
            remedy="make demo, or groundswell train.",
        )
    return read_bundle(var / move["bundle"])


def production_bundle(var: Path) -> Bundle:
    """Read the production bundle; see `alias_bundle`."""
    return alias_bundle(var, "production")


def served_bundle() -> Bundle:
    """Read the bundle to serve: the one named by GROUNDSWELL_BUNDLE_DIR, the one inside the Bento or image, or production's."""
    if named := os.environ.get(BUNDLE_ENV):
        return read_bundle(Path(named))
    return read_bundle(_INSIDE) if _INSIDE.is_dir() else production_bundle(PathSettings.load().var)

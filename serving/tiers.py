"""Tiers: the models of one bundle, from `base` to smaller ones, and the operating points between them.

An operating point is a tier and a threshold: a text whose confidence on that tier is below the threshold is classified by `base`.
Points are made at export, from the validation rows; docs/decisions/0010-tiers.md has the rule.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from data.domains import GENERAL
from data.errors import BundleError
from data.names import unknown_name

BASE, AUTO = "base", "auto"
NAME = r"^[a-z][a-z0-9-]{0,31}$"
"""Of a tier, as it appears in a file's name, a request and a column."""
AUTO_SHARE = 0.99
"""`auto` is the cheapest point whose expected macro-recall is at least this share of that of `base`."""


def _heads_in_order(heads: tuple[str, ...]) -> tuple[str, ...]:
    """Return heads; the first output of a model is always that of `general`."""
    if heads[:1] != (GENERAL,) or len(set(heads)) != len(heads):
        raise ValueError(f"{GENERAL} first, then each domain once")
    return heads


Heads = Annotated[tuple[str, ...], AfterValidator(_heads_in_order)]
"""`general`, then each domain that has a head of its own, in the order of the model's outputs."""


class Calibration(BaseModel):
    """From the logit of an output to a probability: `sigmoid(scale * logit + offset)`, fitted on validation rows (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: float = Field(default=1.0, gt=0)
    offset: float = 0.0


class Tier(BaseModel):
    """A smaller model of a bundle, with the same inputs and outputs as `base`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it."""
    heads: Heads = (GENERAL,)
    """As those of the bundle; its own."""
    sarcasm: Calibration | None = None
    """Of its output for sarcasm; None: it has none."""
    quantization: str = "fp32"
    cpu_us: float = Field(gt=0)
    """CPU microseconds per validation text in bulk, one thread."""
    metrics: dict[str, Any] = {}
    """`macro_recall` of the tier on the validation rows, `flips_per_10000` of its conversion."""


class OperatingPoint(BaseModel):
    """A tier, and the confidence below which `base` classifies a text instead, with what to expect of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: str
    threshold: float = Field(ge=0, le=1)
    """0: the tier classifies every text."""
    escalated: float = Field(default=0.0, ge=0, le=1)
    """Share of the validation rows that `base` classifies."""
    macro_recall: float | None = None
    """On the validation rows, 0 to 1."""
    cpu_us: float | None = None
    """CPU microseconds per text."""
    test_macro_recall: dict[str, float] | None = None
    """`value`, `low`, `high` on the test rows of the ranking, 0 to 1; not used to choose."""

    @property
    def name(self) -> str:
        """Such as `base`, `minilm-1`, or `minilm-1@0.72`: that tier, and `base` below the threshold."""
        return f"{self.tier}@{self.threshold:g}" if self.threshold else self.tier


def model_key(version: str, tier: str) -> str:
    """Return the name of what classified: the version for `base`, else `version/tier`. Versions have no slash."""
    return version if tier == BASE else f"{version}/{tier}"


def tier_file(name: str) -> str:
    """Return the name of a tier's model file in a bundle."""
    return "model.onnx" if name == BASE else f"model_{name}.onnx"


def point_named(name: str, tiers: Mapping[str, Tier], points: Sequence[OperatingPoint]) -> OperatingPoint:
    """Return the operating point that a caller names: a tier alone, `auto`, or the name of a point of the bundle.

    `auto` of a bundle without points is `base`.

    Raises:
        BundleError: The bundle has no such tier.
    """
    if name == AUTO:
        return auto_point(points)
    if named := next((point for point in points if point.name == name), None):
        return named
    if name == BASE:
        return OperatingPoint(tier=BASE, threshold=0.0)
    if name not in tiers:
        raise unknown_name(BundleError, "tier", name, [BASE, AUTO, *tiers], where=" in this bundle")
    tier = tiers[name]  # no point: another tier is as good and cheaper
    return OperatingPoint(tier=name, threshold=0.0, macro_recall=tier.metrics.get("macro_recall"), cpu_us=tier.cpu_us)


def points_down_to(floor: float, usual: OperatingPoint, points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Return the points that load control may choose, the cheapest first and the usual one last.

    Args:
        floor: Least share of the macro-recall of `base`, 0 to 1.
        usual: The point without load; more expensive ones are not used.
        points: Of the bundle, the cheapest first, `base` last.
    """
    if usual.cpu_us is None or not points:
        return [usual]
    least, cost = floor * (points[-1].macro_recall or 0.0), usual.cpu_us
    cheaper = [point for point in points if (point.macro_recall or 0.0) >= least and (point.cpu_us or cost) < cost]
    return [*cheaper, usual]


def auto_point(points: Sequence[OperatingPoint]) -> OperatingPoint:
    """Return the cheapest point with at least `AUTO_SHARE` of the macro-recall of the last one, which is `base`."""
    base = OperatingPoint(tier=BASE, threshold=0.0)
    if not points:
        return base
    least = AUTO_SHARE * (points[-1].macro_recall or 0.0)
    return next((point for point in points if (point.macro_recall or 0.0) >= least), base)

"""The typed reader of `configs/gates.yaml`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.domains import Domain
from data.errors import SettingsError
from data.names import did_you_mean, unknown_name
from data.settings import project_root, read_yaml
from evaluation.metrics import METRICS
from evaluation.suites import Kind


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaselineRule(_Strict):
    """Better than VADER."""

    required: bool = True
    metric: str = "macro_recall"
    min_rows: int = Field(default=1000, ge=1)


class ProductionRule(_Strict):
    """Not worse than the production model."""

    metric: str = "macro_recall"
    margin: float = Field(default=0.005, ge=0, le=1)


class SlicesRule(_Strict):
    """No slice much worse than production."""

    metric: str = "macro_recall"
    min_rows: int = Field(default=200, ge=1)
    margin: float = Field(default=0.03, ge=0, le=1)
    domain_margin: float = Field(default=0.01, ge=0, le=1)
    """Of the slices by domain: a better model of one domain is not paid for with another."""


class BehaviorRule(_Strict):
    """Failure rates not much higher than those of production, and of no group above a maximum."""

    margin: float = Field(default=0.02, ge=0, le=1)
    max_fail_rate: dict[Kind, Annotated[float, Field(ge=0, le=1)]] = {}
    """By kind, for each group: the tests of one suite, kind and capability. A kind that is left out has no maximum."""
    min_cases: int = Field(default=20, ge=1)
    """Groups with fewer cases have no maximum: one case more or less would decide."""


class AbilitiesRule(_Strict):
    """What production finds next to sentiment (sarcasm, companies) is not lost, and not much worse."""

    margin: float = Field(default=0.03, ge=0, le=1)


class ParityRule(_Strict):
    """The exported model predicts what the trained one does."""

    required: bool = True


class CostRule(_Strict):
    """The CPU budget."""

    cpu_us_per_text: float = Field(default=25_000, gt=0)


class TiersRule(_Strict):
    """What a smaller tier of a bundle has to reach; one that does not is left out of the bundle."""

    share: float = Field(default=0.85, ge=0, le=1)
    """Least share of the macro-recall of `base`, on the validation rows."""
    slice_share: float = Field(default=0.8, ge=0, le=1)
    """Least share of the metric of `slices` on `base`, on each slice with at least its `min_rows`."""
    max_fail_rate: dict[Kind, Annotated[float, Field(ge=0, le=1)]] = {}
    """As `behavior.max_fail_rate`; a small model may fail more, since `base` classifies where it is not confident."""


class Gates(_Strict):
    """The rules. A section left out has its defaults; floors and ceilings left out require nothing."""

    floors: dict[str, float] = {}
    domain_floors: dict[Domain, Annotated[float, Field(ge=0, le=1)]] = {}
    """Least value of the metric of `slices` on a domain that has a head, on at least `slices.min_rows` rows."""
    ceilings: dict[str, float] = {}
    ceilings_min_rows: int = Field(default=1000, ge=1)
    baseline: BaselineRule = BaselineRule()
    production: ProductionRule = ProductionRule()
    slices: SlicesRule = SlicesRule()
    behavior: BehaviorRule = BehaviorRule()
    abilities: AbilitiesRule = AbilitiesRule()
    parity: ParityRule = ParityRule()
    cost: CostRule = CostRule()
    tiers: TiersRule = TiersRule()


def load_gates(path: Path | None = None) -> Gates:
    """Read `configs/gates.yaml`.

    Raises:
        SettingsError: The file is not readable, a key or metric is unknown, or a value is out of range.
    """
    path = path or project_root() / "configs" / "gates.yaml"
    try:
        gates = Gates(**read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        *section, key = map(str, first["loc"])
        model = Gates.model_fields[section[0]].annotation if section else Gates
        known = list(getattr(model, "model_fields", {}))
        raise SettingsError(
            f"{path} is invalid at {'.'.join([*section, key])}.",
            found=first["input"],
            expected=f"one of {', '.join(known)}" if first["type"] == "extra_forbidden" else first["msg"],
            remedy=did_you_mean(key, known) if first["type"] == "extra_forbidden" else None,
        ) from None
    named = [*gates.floors, *gates.ceilings, gates.baseline.metric, gates.production.metric, gates.slices.metric]
    for metric in named:
        if metric not in METRICS:
            raise unknown_name(SettingsError, "metric", metric, METRICS, where=f" in {path}")
    return gates

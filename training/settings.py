"""Settings of training."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr

from data.settings import Settings, section_config


class TrainingSettings(Settings):
    """How candidates are trained. What belongs to one candidate (learning rate, length) is in configs/candidates.yaml."""

    section: ClassVar[str] = "training"
    model_config = section_config("training")

    max_train_rows: int | None = Field(default=None, ge=30)
    """Maximum training rows: a seeded sample that keeps the share of each dataset and label, with 600 rows of each domain
    or half of an equal share, where it has them; none: all."""
    epochs: int | None = Field(default=None, ge=1, le=50)
    """Passes over the rows; none: the value of the candidate."""
    evaluations: int = Field(default=4, ge=1, le=100)
    """Number of validations and checkpoints of a run: a killed run loses at most the time between two."""
    patience: int = Field(default=3, ge=1)
    """Validations without a better macro-recall after which training stops."""
    max_val_rows: int = Field(default=2000, ge=30)
    """Maximum validation rows for the selection of the best checkpoint."""
    seed: int = 7
    """Of the order of rows, the samples and the weights of a new head."""
    bf16: bool | None = None
    """bf16 autocast; none: on if the CPU or GPU supports it and a measurement finds it faster."""
    class_weights: bool = True
    """Weight each class by its inverse frequency: the target is macro-recall, and classes are imbalanced."""
    domain_heads: bool = True
    """A head for each domain with enough training rows, next to `general`, where there are two such domains or more."""
    models_dir: Path | None = None
    """Folder with base models in the layout of a hub snapshot, `<candidate>/config.json` …; used before the hub;
    none: `var/models`."""
    quantization: Literal["exact", "fast"] = "exact"
    """exact: the cheapest scheme that passes parity, else fp32. fast: the cheapest that keeps macro-recall."""

    def of_the_run(self) -> dict[str, Any]:
        """Return what a checkpoint depends on: all settings except those of the export."""
        return self.model_dump(mode="json", exclude={"quantization", "models_dir"})


class DistillationSettings(Settings):
    """How students learn from a teacher, see training/distill.py."""

    section: ClassVar[str] = "distillation"
    model_config = section_config("distillation")

    teacher: str = "minilm"
    """The candidate whose probabilities students learn. `mpnet` is better and slower to train."""
    temperature: float = Field(default=1.5, gt=0, le=20)
    """The teacher's probabilities are softened by it: raised to its inverse, and scaled to a sum of 1."""
    gold: float = Field(default=0.3, ge=0, le=1)
    """Share of the gold label in what a student learns of a text that has one."""


class LargeModelSettings(Settings):
    """Access to large models that are only evaluated, the candidates of the kind `llm` in configs/candidates.yaml."""

    section: ClassVar[str] = "llm"
    model_config = section_config("llm")

    api_key: SecretStr | None = None
    """The key of the endpoint (`base_url` of the candidate), sent as a bearer token; any value where the endpoint takes none.
    Without it a candidate of the kind `llm` is skipped."""

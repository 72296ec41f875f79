"""Settings of the training."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from data.settings import Settings, section_config


class TrainingSettings(Settings):
    """How candidates are trained. What belongs to one candidate (learning rate, length) is in configs/candidates.yaml."""

    section: ClassVar[str] = "training"
    model_config = section_config("training")

    max_train_rows: int | None = Field(default=None, ge=30)
    """At most this many training rows, a seeded choice that keeps the share of each set and label; none: all."""
    epochs: int | None = Field(default=None, ge=1, le=50)
    """Passes over the rows; none: what the candidate says."""
    evaluations: int = Field(default=4, ge=1, le=100)
    """How often a run is validated and saved: a killed one loses at most this share."""
    patience: int = Field(default=3, ge=1)
    """Validations without a better macro-recall after which training stops."""
    max_val_rows: int = Field(default=2000, ge=30)
    """At most this many validation rows for the choice of the best epoch."""
    seed: int = 7
    bf16: bool | None = None
    """bf16 autocast; none: on where the processor has it and a measurement finds it faster."""
    class_weights: bool = True
    """Weigh each class by its rarity: the goal is macro-recall, and test sets are balanced unlike the training sets."""
    models_dir: Path | None = None
    """Folder with base models in the layout of a hub snapshot, `<candidate>/config.json` …; used before any hub."""
    quantization: Literal["exact", "fast"] = "exact"
    """exact: the cheapest scheme that passes parity, else fp32. fast: the cheapest that keeps macro-recall."""

    def of_the_run(self) -> dict[str, Any]:
        """What a trained checkpoint depends on: everything here but how it is exported afterwards."""
        return self.model_dump(mode="json", exclude={"quantization", "models_dir"})

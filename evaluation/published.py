"""Published figures of other models, from configs/published.yaml. They are facts with a source, and nothing is ranked by them."""

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from data.errors import SettingsError
from data.settings import project_root, read_yaml

PUBLISHED = "Published, not measured here"
"""Title of every table of them."""


class PublishedFigure(BaseModel):
    """One figure of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    dataset: str
    """Name in configs/datasets.yaml."""
    metric: str
    value: float = Field(ge=0, le=100)
    """In points of 100."""
    protocol: str
    """Rows and training that the figure refers to."""
    source: str


def published_figures(datasets: Collection[str]) -> list[PublishedFigure]:
    """Return the figures for these datasets, in the order of the file.

    Raises:
        SettingsError: The file has an entry that cannot be read.
    """
    try:
        figures = TypeAdapter(list[PublishedFigure]).validate_python(
            read_yaml(project_root() / "configs" / "published.yaml").get("figures")
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"configs/published.yaml is invalid at figures.{'.'.join(map(str, first['loc']))}.",
            found=repr(first["input"]),
            expected=first["msg"],
        ) from None
    return [one for one in figures if one.dataset in datasets]

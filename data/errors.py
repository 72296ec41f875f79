"""The errors that a person can act on: commands print them without a traceback, the service and Dagster show them as they are.

GroundswellError
├── SettingsError            a setting or configuration file that cannot be used
├── DataError
│   ├── SourceUnavailable    a dataset cannot be had from where it should come
│   ├── ChecksumMismatch     a file is not the one that was recorded
│   ├── MalformedData        a file or row that breaks the contract of labeled text
│   └── ValidationFailed     an expectation suite failed
├── ModelError
│   ├── CandidateUnavailable a base model cannot be had
│   ├── TrainingFailed       a training run that cannot continue
│   └── BundleError          a bundle that is corrupt, unknown or missing
├── RegistryError            an alias or version that is not there
├── GateRefused              the promotion gate refused
└── ServiceError
    ├── DeploymentFailed     the new deployment did not become healthy
    ├── StreamError          the stream cannot continue
    ├── WarehouseError       the warehouse refused
    └── LakehouseError       Spark, or a table of the lakehouse, cannot continue

`serving` has kinds of its own below these (`WarehouseAway`, `UnreadableRows` and the like), beside the code that raises them, and
exceptions outside the tree (`service.problems.Refused`, for one) that become an HTTP answer and never reach a command.
"""


class GroundswellError(Exception):
    """An error a person can act on.

    Args:
        message: What went wrong, naming the thing.
        found: What was there.
        expected: What should have been there.
        remedy: What to do about it.
    """

    def __init__(self, message: str, *, found: object = None, expected: object = None, remedy: str | None = None) -> None:
        self.message = message
        self.found = found
        self.expected = expected
        self.remedy = remedy
        lines = [message]
        lines += [
            f"  {name}: {value}"
            for name, value in (("found", found), ("expected", expected), ("remedy", remedy))
            if value is not None
        ]
        super().__init__("\n".join(lines))


class SettingsError(GroundswellError):
    """A setting or configuration file cannot be used."""


class DataError(GroundswellError):
    """Something is wrong with labeled text."""


class SourceUnavailable(DataError):
    """A data set cannot be had from where it should come."""


class ChecksumMismatch(DataError):
    """A file is not the one that was recorded."""


class MalformedData(DataError):
    """A file or row breaks the contract of labeled text."""


class ValidationFailed(DataError):
    """An expectation suite said no."""


class ModelError(GroundswellError):
    """Something is wrong with a model."""


class CandidateUnavailable(ModelError):
    """A base model cannot be had."""


class TrainingFailed(ModelError):
    """A training run cannot go on."""


class BundleError(ModelError):
    """A bundle is corrupt, of an unknown kind, or missing."""


class RegistryError(GroundswellError):
    """An alias or version is not there."""


class GateRefused(GroundswellError):
    """The gate said no."""


class ServiceError(GroundswellError):
    """Something that should answer does not."""


class DeploymentFailed(ServiceError):
    """The new deployment did not become healthy."""


class StreamError(ServiceError):
    """The stream cannot go on."""


class WarehouseError(ServiceError):
    """The warehouse refused."""


class LakehouseError(ServiceError):
    """Spark, or a table of the lakehouse, cannot go on."""

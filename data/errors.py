"""Errors that a user can act on: commands print them without a traceback, the service and Dagster show them as they are.

GroundswellError
├── SettingsError            a setting or configuration file that cannot be used
├── DataError
│   ├── SourceUnavailable    a dataset cannot be fetched from its source
│   ├── ChecksumMismatch     a file is not the one that was recorded
│   ├── MalformedData        a file or row that breaks the contract of labeled text
│   └── ValidationFailed     an expectation suite failed
├── ModelError
│   ├── CandidateUnavailable a base model cannot be loaded
│   ├── TrainingFailed       a training run that cannot continue
│   └── BundleError          a bundle that is corrupt, unknown or missing
├── RegistryError            an alias or version that does not exist
├── GateRefused              the promotion gate refused
└── ServiceError
    ├── DeploymentFailed     the new deployment did not become healthy
    ├── StreamError          the stream cannot continue
    ├── WarehouseError       the warehouse refused or failed
    └── LakehouseError       Spark, or a table of the lakehouse, cannot continue

`serving` defines subclasses of these next to the code that raises them. Exceptions outside this tree, such as
`service.problems.Refused`, become an HTTP response and never reach a command.
"""


class GroundswellError(Exception):
    """An error that a user can act on.

    Args:
        message: What went wrong, and where.
        found: What was found.
        expected: What was expected.
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

    @property
    def in_one_line(self) -> str:
        """The error with what was found, what was expected and the remedy, for logs and notices."""
        first, *rest = (line.strip() for line in str(self).splitlines())
        return f"{first} {'; '.join(rest)}" if rest else first


class SettingsError(GroundswellError):
    """A setting or configuration file cannot be used."""


class DataError(GroundswellError):
    """Something is wrong with labeled text."""


class SourceUnavailable(DataError):
    """A dataset cannot be fetched from its source."""


class ChecksumMismatch(DataError):
    """A file is not the one that was recorded."""


class MalformedData(DataError):
    """A file or row breaks the contract of labeled text."""


class ValidationFailed(DataError):
    """An expectation suite failed."""


class ModelError(GroundswellError):
    """Something is wrong with a model."""


class CandidateUnavailable(ModelError):
    """A base model cannot be loaded."""


class TrainingFailed(ModelError):
    """A training run cannot continue."""


class BundleError(ModelError):
    """A bundle is corrupt, of an unknown kind, or missing."""


class RegistryError(GroundswellError):
    """An alias or version does not exist."""


class GateRefused(GroundswellError):
    """The promotion gate refused a candidate."""


class ServiceError(GroundswellError):
    """A service or a server that it depends on failed."""


class DeploymentFailed(ServiceError):
    """The new deployment did not become healthy."""


class StreamError(ServiceError):
    """The stream cannot continue."""


class WarehouseError(ServiceError):
    """The warehouse refused or failed."""


class LakehouseError(ServiceError):
    """Spark, or a table of the lakehouse, cannot continue."""

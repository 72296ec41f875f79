"""All sections of settings, and the check for misspelled names that every program runs at its start.

A command loads only the sections it needs, so a wrong name in another section would go unnoticed. Sections are listed here
by name and imported when the check runs: this folder imports no sibling, and where a folder is not installed (a serving
image has no `orchestration`) its section is known by name only.
"""

import importlib
import os
import re

from data.errors import SettingsError
from data.names import nearest
from data.settings import ENV_PREFIX, Settings, profile_name, read_profile

SECTIONS = {
    "paths": "data.settings:PathSettings",
    "cost": "data.settings:CostSettings",
    "languages": "data.settings:LanguageSettings",
    "data": "data.settings:DataSettings",
    "training": "training.settings:TrainingSettings",
    "distillation": "training.settings:DistillationSettings",
    "llm": "training.settings:LargeModelSettings",
    "tracking": "training.tracking:TrackingSettings",
    "evaluation": "evaluation.settings:EvaluationSettings",
    "transfer": "evaluation.settings:TransferSettings",
    "serving": "serving.settings:ServingSettings",
    "stream": "serving.settings:StreamSettings",
    "warehouse": "serving.settings:WarehouseSettings",
    "dashboard": "serving.settings:DashboardSettings",
    "alerts": "serving.settings:AlertSettings",
    "lakehouse": "serving.settings:LakehouseSettings",
    "documents": "serving.settings:DocumentSettings",
    "retraining": "orchestration.retraining:RetrainingSettings",
}
"""Section name to `module:class`."""
VARIABLES = (f"{ENV_PREFIX}PROFILE", f"{ENV_PREFIX}BUNDLE_DIR")
"""Variables that belong to no section."""
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")


def settings_classes() -> list[type[Settings]]:
    """Return the class of every section whose folder is installed."""
    classes: list[type[Settings]] = []
    for where in SECTIONS.values():
        module, name = where.split(":")
        try:
            classes.append(getattr(importlib.import_module(module), name))
        except ModuleNotFoundError as error:
            if error.name != module.split(".")[0]:
                raise
    return classes


def check_settings() -> None:
    """Check every `GROUNDSWELL_*` name of the environment and every name in the profile; values are checked where they are read.

    Raises:
        SettingsError: Unknown profile, section or field; the error suggests the nearest valid name.
    """
    profile = read_profile()
    fields = {one.section: list(one.model_fields) for one in settings_classes()}
    known = [*VARIABLES, *(_variable(section, field) for section, names in fields.items() for field in names)]
    wrong = [name for name in sorted(os.environ) if name.upper().startswith(ENV_PREFIX) and not _is_known(name, fields)]
    if wrong:
        raise _unknown(wrong[0], known, fields, found=f"{len(wrong)} unknown names: {', '.join(wrong)}" if wrong[1:] else None)
    for section, content in profile.items():
        for field in content or {"": None}:
            if section not in SECTIONS or (field and field not in fields.get(section, [field])):
                where = f"configs/profiles/{profile_name()}.yaml: {section}.{field}".rstrip(".")
                raise _unknown(_variable(section, field), known, fields, found=where)


def _variable(section: str, field: str) -> str:
    return f"{ENV_PREFIX}{section}__{field}".upper()


def _is_known(name: str, fields: dict[str, list[str]]) -> bool:
    if name.upper() in VARIABLES or _is_service_link(name):
        return True
    section, _, field = name[len(ENV_PREFIX) :].lower().partition("__")
    if section not in SECTIONS:
        return False
    return section not in fields or field.split("__")[0] in fields[section]


def _is_service_link(name: str) -> bool:
    """Return whether Kubernetes set the variable for a Service whose name starts with `groundswell`."""
    return bool(_SERVICE_LINK.search(name)) or re.match(r"(tcp|udp|sctp)://", os.environ[name]) is not None


def _unknown(name: str, known: list[str], fields: dict[str, list[str]], found: str | None) -> SettingsError:
    section = name[len(ENV_PREFIX) :].lower().partition("__")[0]
    close = nearest(name, [one.lower() for one in known])
    return SettingsError(
        f"Unknown setting {name}.",
        found=found,
        expected=f"one of {', '.join(fields[section])}" if section in fields else f"a section of {', '.join(SECTIONS)}",
        remedy=f"Did you mean {close.upper()}?" if close else f"Remove it, or see {ENV_PREFIX}<SECTION>__<FIELD> in README.md.",
    )

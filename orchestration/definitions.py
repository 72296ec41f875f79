"""The definitions that `workspace.yaml` loads."""

from data.settings_registry import check_settings
from orchestration.build import build_defs

check_settings()
defs = build_defs()

"""Project settings: the table [tool.tunix_eval] of the pyproject.toml in pytest's root directory."""

from __future__ import annotations

from pathlib import Path

from tunix_eval.errors import SpecError
from tunix_eval.tables import StrictTable, read_table, resolve_path, validated


class Settings(StrictTable):
    """Below markers, below the command line."""

    artifacts: str = "artifacts"
    """Directory of runs and records, relative to the root directory."""
    baselines: str = "baselines"
    """Directory of committed baselines, relative to the root directory."""
    device: str = "auto"
    """As --tunix-device."""
    compilation_cache: bool = True
    """Whether compiled programs are kept below artifacts/compiled/, unless JAX's own settings name another place."""


def read_settings(root: Path) -> Settings:
    """Read the settings.

    Raises:
        SpecError: a key that is unknown or a value that does not fit, with a suggestion.
    """
    path = root / "pyproject.toml"
    table = read_table(path, "pyproject.toml") if path.exists() else {}
    tool = table.get("tool", {})
    where = f"{path} [tool.tunix_eval]"
    settings = validated(Settings, tool.get("tunix_eval", {}) if isinstance(tool, dict) else {}, where=where)
    for name in ("artifacts", "baselines"):
        try:
            resolve_path(getattr(settings, name), root)
        except SpecError as error:
            raise SpecError(f"{where}: {name}: {error}") from None
    return settings

"""Project settings: the table [tool.tunix_eval] of the pyproject.toml in pytest's root directory."""

from __future__ import annotations

from pathlib import Path

import tomli

from tunix_eval.errors import SpecError
from tunix_eval.tables import StrictTable, validated


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
    try:
        table = tomli.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}: {error}") from None
    return validated(Settings, table.get("tool", {}).get("tunix_eval", {}), where=f"{path} [tool.tunix_eval]")

"""Patterns of the ini option tunix_run_files that match no file: gates that nobody decides. Light."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tunix_eval.plugin.options import RUN_FILES_INI


def unmatched_patterns(config: pytest.Config) -> list[str]:
    """Return the patterns that no file below the root directory matches, where pytest would look for tests."""
    missing = list(config.getini(RUN_FILES_INI))
    skipped = config.getini("norecursedirs")
    for folder, names, files in os.walk(config.rootpath) if missing else ():
        # Changed in place, os.walk goes into no other.
        names[:] = [one for one in names if not any(fnmatch(one, pattern) for pattern in skipped)]
        for file in files:
            if missing and file.endswith(".toml"):
                path = (Path(folder) / file).relative_to(config.rootpath)
                missing = [pattern for pattern in missing if not path.match(pattern)]
        if not missing:
            break
    return missing

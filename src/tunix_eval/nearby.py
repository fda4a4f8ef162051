"""Paths in messages: as the user would write them, and what is meant by one that is not there."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from tunix_eval.errors import suggestion

_LOOKED_AT = 2_000
"""Names in a folder that are compared with the one that is not there."""


def near_file(path: Path) -> str:
    """Return " Did you mean 'x'?" for the name beside a missing file that is closest to its own, or an empty string.

    Where the folder is missing too, it is the folder that is looked for.
    """
    missing = path
    while missing.parent != missing and not missing.parent.is_dir():
        missing = missing.parent
    try:
        with os.scandir(missing.parent) as entries:
            names = sorted(entry.name for entry in islice(entries, _LOOKED_AT))
    except (OSError, ValueError):
        return ""
    rest = path.relative_to(missing)
    found = suggestion(missing.name, [name for name in names if name != missing.name])
    if not found or rest == Path():
        return found
    name = found.removeprefix(" Did you mean '").removesuffix("'?")
    # A folder under which the file is not there either is still the likelier mistake.
    return f" Did you mean '{Path(name) / rest}'?"


def below(text: str, folder: Path) -> str:
    """Return a text in which paths below a folder are written relative to it.

    >>> below("/here/run.toml: no such file", Path("/here"))
    'run.toml: no such file'
    """
    for written in dict.fromkeys((folder, folder.resolve())):
        prefix = f"{written}{os.sep}"
        if len(prefix) > 2:
            text = text.replace(prefix, "")
    return text

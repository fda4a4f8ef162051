"""Paths in messages: as the user would write them, and what is meant by one that is not there."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

from tunix_eval.errors import suggestion

_SEPARATORS = re.escape(os.sep + (os.altsep or ""))
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
    """Return a text in which paths below a folder are written relative to it, and the folder itself as a dot.

    >>> below("/here/run.toml: no such file", Path("/here"))
    'run.toml: no such file'
    >>> below("/here: is a directory; /there/here/run.toml is none", Path("/here"))
    '.: is a directory; /there/here/run.toml is none'
    """
    for written in dict.fromkeys((folder, folder.resolve())):
        path = str(written)
        if path != written.anchor and path in text:
            # Not inside the path of another folder that ends alike.
            whole = rf"(?<![\w.~{_SEPARATORS}-]){re.escape(path)}"
            text = re.sub(rf"{whole}(?![\w{_SEPARATORS}-]|\.\w)", ".", re.sub(rf"{whole}[{_SEPARATORS}]", "", text))
    return text

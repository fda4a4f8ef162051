"""Libraries that only some files, tokenizers or templates need."""

from __future__ import annotations

import importlib
from types import ModuleType

from tunix_eval.errors import DataError


def optional_library(name: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import a library of an optional extra.

    Raises:
        DataError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise DataError(
            f"{needed_by}: needs the library {name}; install it with: pip install 'tunix-eval[{extra}]'"
        ) from None

"""What bad input raises. Every message says which thing, what was found, what was expected, and the next move."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TunixEvalError(Exception):
    """A mistake in what the user gave us; shown as one line, never as a traceback."""


class DataError(TunixEvalError):
    """A trace, evalset, dataset or predictions file that breaks its format."""


class SpecError(TunixEvalError):
    """A run file, marker, setting or option that cannot be understood."""


class UnknownNameError(SpecError):
    """A name that nothing is registered under."""


class RenderError(TunixEvalError):
    """A conversation that a renderer or tokenizer cannot turn into tokens."""


class TrainingError(TunixEvalError):
    """A training run that cannot start or had to stop."""


class ArtifactError(TunixEvalError):
    """A file under the artifacts directory that is damaged, foreign or cannot be written."""


class BaselineError(TunixEvalError):
    """A baseline that is missing, damaged, or made with something else."""


class DeviceError(TunixEvalError):
    """A device that was asked for and is not there."""


class RunMissingError(Exception):
    """A run is needed, is not recorded, and the session may not train it; the test is skipped with a reason."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or an empty string.

    >>> suggestion("gema", ["chatml", "gemma"])
    " Did you mean 'gemma'?"
    >>> suggestion("zzz", ["chatml", "gemma"])
    ''
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not registered.

    >>> str(unknown_name("renderer", "gema", ["plain", "gemma"]))
    "no renderer named 'gema'; known: gemma, plain. Did you mean 'gemma'?"
    """
    names = sorted(known)
    listed = ", ".join(names) if names else "none"
    return UnknownNameError(f"no {kind} named '{name}'; known: {listed}.{suggestion(name, names)}")

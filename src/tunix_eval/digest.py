"""Identity: equal inputs give equal digests, on every machine and in every process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tunix_eval.folding import normalised_prompt


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys, no spaces and no NaN, so that equal values give equal text.

    >>> canonical_json({"b": 1, "a": [1.5, None, "é"]})
    '{"a":[1.5,null,"é"],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """Return the SHA-256 of the text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical text, in hex."""
    return sha256_text(canonical_json(value))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_source(path: Path) -> str:
    """Return the SHA-256 over a Python module file, or over every `.py` file of a package directory.

    Names inside the package count; where it is installed does not.
    """
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    return sha256_json([[file.relative_to(root).as_posix(), sha256_file(file)] for file in files])


def prompt_digest(prompt: str) -> str:
    """Return the digest by which holdout splits and contamination checks go."""
    return sha256_text(normalised_prompt(prompt))

"""UUIDs of version 5 as text, for a hundred thousand names a second and more."""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import Any

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""A digit with its first two bits set to 10."""


def uuid5_text(namespace: uuid.UUID, name: str) -> str:
    """Return what `str(uuid.uuid5(namespace, name))` does, in less than half of the time.

    Source: RFC 9562, section 5.5.

    >>> uuid5_text(uuid.NAMESPACE_DNS, "www.example.com")
    '2ed6657d-e927-568b-95e1-2665a8aea6a2'
    """
    return finished(begun(namespace), name.encode("utf-8"))


@functools.lru_cache(16)
def begun(namespace: uuid.UUID) -> Any:
    """Return the SHA-1 of the namespace; copy it to go on."""
    return hashlib.sha1(namespace.bytes, usedforsecurity=False)


def finished(sha1: Any, rest: bytes) -> str:
    """Return the UUIDv5 from the SHA-1 of a namespace and the begun name, and the rest of the name."""
    sha1 = sha1.copy()
    sha1.update(rest)
    digits = sha1.hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"

"""The identity of weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import jax
import numpy as np
import numpy.typing as npt


def weights_sha256(params: Mapping[str, jax.Array | npt.NDArray[np.generic]]) -> str:
    """Return the SHA-256 over names, shapes, dtypes and bytes of the arrays, in order of name.

    Never over files: a checkpoint's files differ each time that the same arrays are written.

    >>> one = {"a": np.zeros(2, np.float32), "b": np.ones(1, np.float32)}
    >>> weights_sha256(one) == weights_sha256(dict(reversed(one.items())))
    True
    >>> weights_sha256(one) == weights_sha256({"a": np.zeros((1, 2), np.float32), "b": np.ones(1, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(params):
        array = np.asarray(params[name])
        # Little-endian, so that the bytes do not depend on the machine.
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        header = json.dumps([name, list(np.shape(params[name])), str(params[name].dtype)])
        digest.update(header.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

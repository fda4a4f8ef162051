import hashlib

import jax.numpy as jnp
import numpy as np

from tunix_eval.model.weights import weights_sha256


def test_the_digest_is_that_of_names_shapes_dtypes_and_bytes():
    params = {"b": jnp.array([1.0, 2.0]), "a": jnp.array([[3]], jnp.int32)}
    stream = b'["a", [1, 1], "int32"]\x03\0\0\0["b", [2], "float32"]' + np.array([1, 2], "<f4").tobytes()
    assert weights_sha256(params) == hashlib.sha256(stream).hexdigest()


def test_numpy_and_jax_arrays_have_one_digest():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert weights_sha256({"w": values}) == weights_sha256({"w": jnp.array(values)})
    assert weights_sha256({"w": values}) == weights_sha256({"w": np.asfortranarray(values)})


def test_every_change_changes_the_digest():
    values = np.arange(6, dtype=np.float32)
    nudged = values.copy()
    nudged[5] = np.nextafter(nudged[5], np.float32(9))
    variants = [
        {"w": values},
        {"v": values},
        {"w": values.reshape(2, 3)},
        {"w": values.view(np.int32)},
        {"w": nudged},
        {"w": values, "v": values},
    ]
    assert len({weights_sha256(variant) for variant in variants}) == len(variants)

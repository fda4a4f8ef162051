"""What tells one decoder from another by the shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import abstract_params

Sizes = dict[str, int | bool]


def described_weights(config: DecoderConfig) -> dict[str, str]:
    """Return name -> dtype and shape of every weight, such as `float32[259,128]`."""
    return {
        name: f"{shape.dtype}[{','.join(map(str, shape.shape))}]" for name, shape in abstract_params(config).items()
    }


def weights_differ(found: Mapping[str, str], config: DecoderConfig) -> str | None:
    """Say how the weights of a checkpoint, described as by `described_weights`, are not those of a decoder.

        blocks.0.attention.key is float32[256,256] in the checkpoint, the run file wants float32[128,128]: its model
        has width 256 (here 128), mlp_width 1024 (here 512)

    Returns:
        One line; None where all names, dtypes and shapes agree.
    """
    wanted = described_weights(config)
    if dict(found) == wanted:
        return None
    name = min((name for name, _ in found.items() ^ wanted.items()), key=lambda name: (name not in found, name))
    theirs, ours = _sizes(found), _sizes(wanted)
    said = ", ".join(
        f"{size} {_toml(value)} (here {_toml(ours[size])})"
        for size, value in theirs.items()
        if size in ours and value != ours[size]
    )
    reason = f"its model has {said}" if said else "it is no decoder of this package"
    return (
        f"{name} is {found.get(name, 'nothing')} in the checkpoint, the run file wants {wanted.get(name, 'nothing')}: "
        f"{reason}"
    )


def _sizes(weights: Mapping[str, str]) -> Sizes:
    """Return what shapes tell of a decoder's sizes, by the names of a run file."""
    shapes = {
        name: [int(size) for size in re.findall(r"\d+", text.partition("[")[2])] for name, text in weights.items()
    }
    blocks = {match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))}
    sizes: Sizes = {"layers": len(blocks), "tied": "unembedding" not in shapes}
    if len(table := shapes.get("embedding", [])) == 2:
        sizes |= {"vocab_size": table[0], "width": table[1]}
    first = {name.removeprefix("blocks.0."): shape for name, shape in shapes.items() if name.startswith("blocks.0.")}
    if len(gate := first.get("mlp.gate", [])) == 2:
        sizes["mlp_width"] = gate[1]
    norm = first.get("attention.query_norm.scale")
    sizes["qk_norm"] = norm is not None
    for size, part in (("heads", "attention.query"), ("kv_heads", "attention.key")):
        if norm and len(shape := first.get(part, [])) == 2:
            sizes[size] = shape[1] // norm[0]
    if norm:
        sizes["head_width"] = norm[0]
    return sizes


def _toml(value: int | bool) -> str:
    return str(value).lower()

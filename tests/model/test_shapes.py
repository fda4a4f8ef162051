import pytest

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.shapes import described_weights, weights_differ
from tunix_eval.specs import ModelSpec

SPEC = ModelSpec(preset="tiny")
TINY = DecoderConfig.from_spec(SPEC, vocab_size=259)


def weights(**sizes):
    return described_weights(DecoderConfig.from_spec(ModelSpec(preset="tiny", **sizes), vocab_size=259))


def test_equal_sizes_do_not_differ():
    assert weights_differ(weights(), TINY) is None
    assert weights_differ(weights(remat=True, rope_theta=5.0), TINY) is None


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        (
            {"width": 256, "mlp_width": 1024},
            "blocks.0.attention.key is float32[256,256] in the checkpoint, the run file wants float32[128,128]: "
            "its model has width 256 (here 128), mlp_width 1024 (here 512), head_width 64 (here 32)",
        ),
        (
            {"layers": 3},
            "blocks.2.attention.key is float32[128,128] in the checkpoint, the run file wants nothing: "
            "its model has layers 3 (here 2)",
        ),
        (
            {"layers": 1},
            "blocks.1.attention.key is nothing in the checkpoint, the run file wants float32[128,128]: "
            "its model has layers 1 (here 2)",
        ),
        (
            {"kv_heads": 2},
            "blocks.0.attention.key is float32[128,64] in the checkpoint, the run file wants float32[128,128]: "
            "its model has kv_heads 2 (here 4)",
        ),
        (
            {"heads": 8},
            "blocks.0.attention.key_norm.scale is float32[16] in the checkpoint, the run file wants float32[32]: "
            "its model has heads 8 (here 4), kv_heads 8 (here 4), head_width 16 (here 32)",
        ),
        (
            {"tied": False},
            "unembedding is float32[259,128] in the checkpoint, the run file wants nothing: "
            "its model has tied false (here true)",
        ),
        (
            {"qk_norm": False},
            "blocks.0.attention.key_norm.scale is nothing in the checkpoint, the run file wants float32[32]: "
            "its model has qk_norm false (here true)",
        ),
    ],
    ids=str,
)
def test_one_line_names_the_first_weight_and_the_sizes_that_differ(sizes, line):
    assert weights_differ(weights(**sizes), TINY) == line


def test_weights_of_something_else_are_no_decoder():
    assert weights_differ({"dense": "float32[2]"}, TINY).startswith("dense is float32[2] in the checkpoint, ")

"""How many parameters a model has, and how much memory its training takes: from the run file alone, without JAX."""

from __future__ import annotations

from tunix_eval.errors import SpecError
from tunix_eval.specs import ModelSpec, TrainingSpec

FLOAT = 4
"""Bytes of a weight, a gradient, a number of the optimizer's, a logit."""
PARAMETER_COPIES = {
    "adafactor": 0.0,
    "adagrad": 1.0,
    "adan": 4.0,
    "ademamix": 3.0,
    "amsgrad": 3.0,
    "cocob": 5.0,
    "dadapt_adamw": 3.0,
    "dog": 1.0,
    "dowg": 1.0,
    "fromage": 0.0,
    "lars": 1.0,
    "lion": 1.0,
    "madgrad": 3.0,
    "muon": 1.0,
    "novograd": 1.0,
    "optimistic_adam_v2": 3.0,
    "optimistic_gradient_descent": 1.0,
    "prodigy": 4.0,
    "rmsprop": 1.0,
    "sgd": 0.0,
    "sign_sgd": 0.0,
    "signum": 1.0,
}
"""What an optimizer remembers of each parameter; the others, as adamw, a mean and a mean of squares."""
OTHER_COPIES = 2.0
WITH_MOMENTUM = ("adafactor", "rmsprop", "sgd")
"""Those that remember one number more where optimizer_options.momentum is given."""
CHUNK_LOGITS = {"cpu": 2**25}
"""Logits that are held at once, by platform. On two cores more of them are no quicker."""
OTHER_CHUNK_LOGITS = 2**27
"""An accelerator needs more: every chunk reads and writes the embedding's gradient once."""


def parameter_count(model: ModelSpec, vocab_size: int) -> int:
    """Return the number of weights; `vocab_size` is the tokenizer's.

    >>> parameter_count(ModelSpec(preset="small"), 512)
    4328192
    """
    sizes = model.sizes()
    width, head_width = sizes["width"], sizes["head_width"]
    attention = 2 * width * head_width * (sizes["heads"] + sizes["kv_heads"])
    norms = 2 * width + (2 * head_width if model.qk_norm else 0)
    embedding = _embedding_rows(model, vocab_size) * width * (1 if model.tied else 2)
    return embedding + sizes["layers"] * (attention + 3 * width * sizes["mlp_width"] + norms) + width


def memory_bytes(model: ModelSpec, training: TrainingSpec, vocab_size: int, platform: str = "cpu") -> int:
    """Return about how many bytes a training holds at its peak, on one device, the runtime's own apart.

    Right to within a factor of 1.5 of what XLA plans on the CPU, where it is more than some megabytes. There, what is
    being written to a checkpoint takes memory as well.
    """
    weights = parameter_count(model, vocab_size) * FLOAT
    copies = optimizer_copies(training)
    # Weights, gradients and what the optimizer remembers; with micro-batches the sum of the gradients, too.
    state = weights * (2 + copies + (1 if training.accumulate > 1 else 0))
    if platform == "cpu":
        state += weights * (1 + copies + (1 if training.keep == "best" else 0))
    batches = training.steps_per_dispatch * training.rows * training.row_tokens * 13
    return int(
        state + batches + max(_activations(model, training, platform), _loss(model, training, vocab_size, platform))
    )


def optimizer_copies(training: TrainingSpec) -> float:
    """Return how many numbers the optimizer remembers of each parameter.

    >>> optimizer_copies(TrainingSpec(steps=1)), optimizer_copies(TrainingSpec(steps=1, optimizer="sgd"))
    (2.0, 0.0)
    """
    copies = PARAMETER_COPIES.get(training.optimizer, OTHER_COPIES)
    has_momentum = training.optimizer in WITH_MOMENTUM and training.optimizer_options.get("momentum") is not None
    return copies + (1.0 if has_momentum else 0.0)


def chosen_chunk(tokens: int, vocab_size: int, platform: str) -> int:
    """Return how many tokens' logits are held at once: a power of two, or all of them where that is no more.

    >>> chosen_chunk(4096, 256_000, "cpu"), chosen_chunk(4096, 512, "cpu")
    (128, 4096)
    """
    held = CHUNK_LOGITS.get(platform, OTHER_CHUNK_LOGITS)
    return min(tokens, 1 << max(held // vocab_size, 1).bit_length() - 1)


def check_memory(
    needed: int, available: int, *, model: ModelSpec, training: TrainingSpec, vocab_size: int, platform: str
) -> None:
    """Refuse a training that needs more memory than there is, naming what would help and by how much.

    Raises:
        SpecError: needed is over available.
    """
    if needed <= available:
        return
    found = {
        said: memory_bytes(other_model, other_training, vocab_size, platform)
        for said, other_model, other_training in _ways_out(model, training, vocab_size, platform)
    }
    helpful = sorted((size, said) for said, size in found.items() if size < 0.95 * needed)
    said = ", ".join(f"{said} about {shown_bytes(size)}" for size, said in helpful)
    remedy = f"{said} would need less" if said else "take a smaller model or an optimizer that remembers less"
    raise SpecError(
        f"training needs about {shown_bytes(needed)} of memory, the device has {shown_bytes(available)}; {remedy}"
    )


def shown_parameters(count: int) -> str:
    """Say how many parameters.

    >>> shown_parameters(528_000), shown_parameters(4_328_192), shown_parameters(25_000_000), shown_parameters(12_345)
    ('0.5M parameters', '4.3M parameters', '25M parameters', '12,345 parameters')
    """
    if count < 100_000:
        return f"{count:,} parameters"
    millions = count / 1e6
    return f"{millions:.1f}M parameters" if millions < 10 else f"{millions:,.0f}M parameters"


def shown_bytes(count: float) -> str:
    """Say how many bytes, to two digits.

    >>> shown_bytes(61_234_567), shown_bytes(1_234_567_890), shown_bytes(45e9), shown_bytes(999)
    ('61 MB', '1.2 GB', '45 GB', '1 MB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB" if count < 1e10 else f"{count / 1e9:,.0f} GB"
    return f"{max(count / 1e6, 1):,.0f} MB"


def _embedding_rows(model: ModelSpec, vocab_size: int) -> int:
    return max(model.vocab_size or 0, vocab_size)


def _activation_bytes(model: ModelSpec, platform: str) -> int:
    half = model.dtype == "bfloat16" or (model.dtype == "auto" and platform != "cpu")
    return 2 if half else 4


def _tokens(training: TrainingSpec) -> int:
    return training.rows // training.accumulate * training.row_tokens


def _activations(model: ModelSpec, training: TrainingSpec, platform: str) -> float:
    """Return the bytes of what the backward pass needs of all layers."""
    sizes, tokens = model.sizes(), _tokens(training)
    number = _activation_bytes(model, platform)
    heads, kv_heads = sizes["heads"] * sizes["head_width"], sizes["kv_heads"] * sizes["head_width"]
    # What XLA on CPU keeps, as counted in its plans: residuals and norms; queries, keys and values before and after
    # norm and RoPE, and what heads gathered; the five steps of SwiGLU; scores, exponentials and their means.
    kept = 6 * sizes["width"] + 4 * heads + 4 * kv_heads + 5 * sizes["mlp_width"]
    softmax = 3 * sizes["heads"] * training.row_tokens * FLOAT
    layer = tokens * (kept * number + softmax)
    if model.remat:
        # The blocks' inputs, one block, and the blocks' weights one behind the other.
        return sizes["layers"] * tokens * sizes["width"] * number + layer + parameter_count(model, 0) * FLOAT
    return sizes["layers"] * layer


def _loss(model: ModelSpec, training: TrainingSpec, vocab_size: int, platform: str) -> float:
    """Return the bytes of activations that are held while the loss is computed, and of its logits."""
    rows, tokens = _embedding_rows(model, vocab_size), _tokens(training)
    chunk = training.loss_chunk or chosen_chunk(tokens, rows, platform)
    number = _activation_bytes(model, platform)
    if chunk >= tokens:
        logits = 2.0 * tokens * rows * FLOAT
    else:
        logits = chunk * rows * FLOAT + rows * model.sizes()["width"] * number
    return _activations(model, training, platform) + logits


def _ways_out(
    model: ModelSpec, training: TrainingSpec, vocab_size: int, platform: str
) -> list[tuple[str, ModelSpec, TrainingSpec]]:
    """Return settings that take less memory: how to say them, and the tables with them."""
    ways = []
    if not model.remat:
        ways.append(("remat = true", model.model_copy(update={"remat": True}), training))
    per_micro = training.rows // training.accumulate
    if per_micro > 1:
        accumulate = next(n for n in range(2, per_micro + 1) if per_micro % n == 0) * training.accumulate
        ways.append((f"accumulate = {accumulate}", model, training.model_copy(update={"accumulate": accumulate})))
        if training.accumulate == 1:
            half = training.rows // 2
            ways.append((f"rows = {half}", model, training.model_copy(update={"rows": half})))
    chunk = min(training.loss_chunk or chosen_chunk(_tokens(training), vocab_size, platform), _tokens(training)) // 4
    if chunk >= 1:
        ways.append((f"loss_chunk = {chunk}", model, training.model_copy(update={"loss_chunk": chunk})))
    return ways

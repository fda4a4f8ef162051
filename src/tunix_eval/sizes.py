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
FACTORED_WIDTH = 128
"""Of what is narrower, adafactor remembers every square, and else one for each row and column. Source: optax."""
NEWTON_SCHULZ_COPIES = 6.4
"""Copies of the layers' matrices, all of them, that XLA on CPU holds while muon makes its updates orthogonal."""
WITH_MOMENTUM = ("adafactor", "rmsprop", "sgd")
"""Those that remember one number more where optimizer_options.momentum is given."""
CHUNK_LOGITS = {"cpu": 2**25}
"""Logits that are held at once, by platform. On two cores more of them are no quicker."""
OTHER_CHUNK_LOGITS = 2**27
"""An accelerator needs more: every chunk reads and writes the embedding's gradient once."""

QUERY_BLOCK = 128
"""Queries that attend at once. Fewer than these leave the products too little to do."""
MOST_QUERY_BLOCKS = 8
"""Blocks stand side by side in the program, so that more of them take longer to compile; these leave out 7/16."""


def parameter_count(model: ModelSpec, vocab_size: int) -> int:
    """Return the number of weights; `vocab_size` is the tokenizer's.

    >>> parameter_count(ModelSpec(preset="small"), 512)
    4328192
    """
    sizes = model.sizes()
    norms = 2 * sizes["width"] + (2 * sizes["head_width"] if model.qk_norm else 0)
    embedding = _embedding_rows(model, vocab_size) * sizes["width"] * (1 if model.tied else 2)
    return embedding + _matrix_count(model) + sizes["layers"] * norms + sizes["width"]


def memory_bytes(model: ModelSpec, training: TrainingSpec, vocab_size: int, platform: str = "cpu") -> int:
    """Return about how many bytes a training holds at its peak, on one device, the runtime's own apart.

    Right to within a factor of 1.5 of what XLA plans on the CPU, where it is more than some megabytes; there, what is
    being written to a checkpoint takes memory as well. What muon works with was measured on the CPU alone, and is left
    out elsewhere.
    """
    weights = parameter_count(model, vocab_size) * FLOAT
    remembered = optimizer_numbers(model, training, vocab_size) * FLOAT
    # Weights, gradients and what the optimizer remembers; with micro-batches the sum of the gradients, too.
    state = weights * (2 + (1 if training.accumulate > 1 else 0)) + remembered
    if platform == "cpu":
        state += weights * (1 + (1 if training.keep == "best" else 0)) + remembered
    batches = training.steps_per_dispatch * training.rows * training.row_tokens * 13
    # One after the other.
    working = (
        _activations(model, training, platform),
        _loss(model, training, vocab_size, platform),
        _update(model, training, platform),
    )
    return int(state + batches + max(working))


def disk_bytes(model: ModelSpec, training: TrainingSpec, vocab_size: int) -> int:
    """Return about how many bytes the checkpoints of a training take at most, the final weights with them.

    The newest is written before the oldest is deleted. Of the best weights there is one for each checkpoint, the
    newest, and one that is being written.

    >>> model, training = ModelSpec(preset="small"), TrainingSpec(steps=1, optimizer="sgd", keep_checkpoints=1)
    >>> disk_bytes(model, training, 512) / (4 * parameter_count(model, 512))
    3.0
    """
    weights = parameter_count(model, vocab_size)
    checkpoint = weights + optimizer_numbers(model, training, vocab_size)
    kept = training.keep_checkpoints
    apart = kept + 3 if training.keep == "best" else 1
    return FLOAT * ((kept + 1) * checkpoint + apart * weights)


def optimizer_numbers(model: ModelSpec, training: TrainingSpec, vocab_size: int) -> int:
    """Return how many numbers the optimizer remembers.

    >>> model = ModelSpec(preset="small")
    >>> numbers = [optimizer_numbers(model, TrainingSpec(steps=1, optimizer=name), 512) for name in ("adamw", "sgd")]
    >>> [one / parameter_count(model, 512) for one in numbers]
    [2.0, 0.0]
    """
    count, name = parameter_count(model, vocab_size), training.optimizer
    numbers = PARAMETER_COPIES.get(name, OTHER_COPIES) * count
    if name == "muon":
        # What is no matrix of a layer goes to Adam.
        numbers += count - _matrix_count(model)
    if name == "adafactor" and model.sizes()["width"] < FACTORED_WIDTH:
        numbers += count
    if name in WITH_MOMENTUM and training.optimizer_options.get("momentum") is not None:
        numbers += count
    return int(numbers)


def query_blocks(tokens: int) -> list[tuple[int, int]]:
    """Return where the blocks of queries begin and end that attend at once, in rows of so many tokens.

    >>> query_blocks(300)
    [(0, 128), (128, 256), (256, 300)]
    """
    size = max(QUERY_BLOCK, -(-tokens // MOST_QUERY_BLOCKS))
    return [(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def fits_cudnn(tokens: int, head_width: int) -> bool:
    """Tell whether cuDNN's attention, which holds a number a token and head, trains rows of so many bfloat16 tokens.

    Source: jax._src.cudnn.fused_attention_stablehlo, `check_is_flash_attention`.
    """
    return tokens % 2 == 0 and head_width % 8 == 0 and head_width <= 128


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


def _matrix_count(model: ModelSpec) -> int:
    """Return the number of weights in the matrices of the layers."""
    sizes = model.sizes()
    attention = 2 * sizes["head_width"] * (sizes["heads"] + sizes["kv_heads"])
    return sizes["layers"] * sizes["width"] * (attention + 3 * sizes["mlp_width"])


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
    # norm and RoPE, and what heads gathered; gate, up, their product and its gradient; exponentials up to the end of
    # each block of queries, and the scores of what is at work.
    kept = 6 * sizes["width"] + 4 * heads + 4 * kv_heads + 4 * sizes["mlp_width"]
    blocks = len(query_blocks(training.row_tokens))
    softmax = 1.5 * sizes["heads"] * training.row_tokens * (blocks + 1) / (2 * blocks) * FLOAT
    if platform == "gpu" and number == 2 and fits_cudnn(training.row_tokens, sizes["head_width"]):
        softmax = sizes["heads"] * FLOAT
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


def _update(model: ModelSpec, training: TrainingSpec, platform: str) -> float:
    """Return the bytes that an optimizer works with, beside the gradients and what it remembers."""
    if training.optimizer != "muon" or platform != "cpu":
        return 0.0
    return NEWTON_SCHULZ_COPIES * _matrix_count(model) * FLOAT


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

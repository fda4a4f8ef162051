"""A trainer without JAX: it counts which token followed which tokens."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from tunix_eval.errors import SpecError, TrainingError, suggestion
from tunix_eval.records import Batch, FloatArray, Generation, Progress, TokenArray, TrainingJob, TrainingResult
from tunix_eval.specs import GenerationSpec

DEFAULTS: dict[str, Any] = {"order": 8, "smoothing": 0.1}
COUNTS = Path("checkpoint-final") / "counts.npz"


class NgramModel:
    """Counts of the next token after every context of up to `order` tokens.

    Each context's distribution leans on the next shorter one's, down to the uniform distribution:

        p(w | c) = (count(c w) + smoothing * p(w | c without its first token)) / (count(c) + smoothing)

    Source: D. J. C. MacKay and L. C. Bauman Peto, "A hierarchical Dirichlet language model", 1995.
    """

    def __init__(self, vocab_size: int, *, order: int, smoothing: float) -> None:
        self.vocab_size = vocab_size
        self.order = order
        self.smoothing = smoothing
        self._counts: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        self._totals: Counter[tuple[int, ...]] = Counter()

    def learn(self, before: Sequence[int], token: int) -> None:
        """Count a token after every context that it stands behind."""
        for context in self._contexts(before):
            self._counts[context][token] += 1
            self._totals[context] += 1

    def probability(self, before: Sequence[int], token: int) -> float:
        """Return the probability of one token, to the bit of `distribution`, without those of all others."""
        found = 1 / self.vocab_size
        for context in self._contexts(before):
            counts = self._counts.get(context)
            if counts is None:
                break
            found = (found * self.smoothing + counts.get(token, 0)) / (self._totals[context] + self.smoothing)
        return found

    def distribution(self, before: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return the probability of every next token: float64[V], summing to 1."""
        found = np.full(self.vocab_size, 1 / self.vocab_size)
        for context in self._contexts(before):
            counts = self._counts.get(context)
            if counts is None:
                break
            found *= self.smoothing
            found[list(counts)] += list(counts.values())
            found /= self._totals[context] + self.smoothing
        return found

    def generate(
        self,
        prompts: Sequence[TokenArray],
        settings: GenerationSpec,
        *,
        stop_ids: tuple[int, ...],
        seeds: Sequence[int] = (),
    ) -> list[Generation]:
        """Complete every prompt (int32[T] each), in order, by the likeliest tokens or at a temperature.

        What is drawn depends on a prompt's own seed and the step alone, so that it is the same in any company.
        """
        if not settings.temperature:
            seeds = [0] * len(prompts)
        if len(seeds) != len(prompts):
            raise SpecError(f"trainer 'ngram': {len(seeds)} seeds for {len(prompts)} prompts; give each its own")
        return [
            self._complete(prompt.tolist(), settings, stop_ids, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    def token_logprobs(self, sequences: Sequence[TokenArray]) -> list[FloatArray]:
        """Return the log-probability in nats of every token but the first: float32[T - 1] for int32[T], in order."""
        return [self._logprobs(sequence.tolist()) for sequence in sequences]

    def _logprobs(self, ids: list[int]) -> FloatArray:
        found = [self.probability(ids[:place], ids[place]) for place in range(1, len(ids))]
        return np.log(np.array(found, np.float64)).astype(np.float32)

    def _complete(
        self, prompt: list[int], settings: GenerationSpec, stop_ids: tuple[int, ...], seed: int
    ) -> Generation:
        written: list[int] = []
        while len(written) < settings.max_new_tokens:
            scores = self.distribution(prompt + written)
            if settings.temperature:
                # The argument of the maximum is a draw from p ** (1 / temperature), normalised.
                # Source: Gumbel 1954, "Statistical Theory of Extreme Values and Some Practical Applications".
                noise = np.random.default_rng([seed, len(written)]).gumbel(size=self.vocab_size)
                scores = np.log(scores) + settings.temperature * noise
            token = int(scores.argmax())
            if token in stop_ids:
                return Generation(tuple(written), "stop")
            written.append(token)
        return Generation(tuple(written), "length")

    def _contexts(self, before: Sequence[int]) -> Iterator[tuple[int, ...]]:
        for length in range(min(self.order, len(before)) + 1):
            yield tuple(before[len(before) - length :])

    def arrays(self) -> dict[str, TokenArray]:
        """Return the counts as int32 arrays: contexts[C, order] (short ones padded with -1), tokens[C], counts[C]."""
        rows = sorted(
            ((-1,) * (self.order - len(context)) + context, token, count)
            for context, counts in self._counts.items()
            for token, count in counts.items()
        )
        contexts = np.array([row[0] for row in rows], np.int32).reshape(len(rows), self.order)
        tokens, counts = (np.array([row[i] for row in rows], np.int32) for i in (1, 2))
        return {"contexts": contexts, "tokens": tokens, "counts": counts}

    def restore(self, path: Path) -> None:
        """Read the counts that `arrays` gave and a training run saved."""
        with np.load(path, allow_pickle=False) as arrays:
            rows = zip(arrays["contexts"].tolist(), arrays["tokens"].tolist(), arrays["counts"].tolist(), strict=True)
            for context, token, count in rows:
                known = tuple(part for part in context if part >= 0)
                self._counts[known][token] = count
                self._totals[known] += count

    @property
    def weights_sha256(self) -> str:
        """Digest over the arrays and the smoothing, which decides with them what is written."""
        return _sha256(self.arrays(), self.smoothing)


class NgramTrainer:
    """Fits an NgramModel; `[training.options]` takes `order` and `smoothing`. It reads no [model] table."""

    name = "ngram"
    version = "1"

    def train(self, job: TrainingJob, *, on_progress: Callable[[Progress], None]) -> TrainingResult:
        """Train from the first step on; a run takes seconds, so that there is nothing to resume.

        The loss of a step is the cross-entropy of its supervised tokens before they are counted, in nats a token.

        Raises:
            TrainingError: tokens that weigh differently, which counting cannot do.
        """
        if job.rows.loss_weights is not None:
            raise TrainingError("trainer 'ngram' counts every token alike; take step_weight out of the run file")
        model, start = _model(job), time.perf_counter()
        total = job.training.steps or math.ceil((job.training.epochs or 0) * _rows(job) / job.training.rows)
        steps = min(total, job.stop_after or total)
        lines, tokens = [], 0
        for step, rows in zip(range(1, steps + 1), _batches(job), strict=False):
            nats = [_learn(model, before, token) for row in rows for before, token in supervised(job.rows, row)]
            tokens += int((job.rows.segment_ids[rows] > 0).sum())
            seconds = time.perf_counter() - start
            progress = Progress(step, total, sum(nats) / len(nats), tokens / seconds)
            epoch = step * job.training.rows / _rows(job)
            line = {"step": step, "epoch": epoch, "loss": progress.loss, "tokens": tokens, "wall_seconds": seconds}
            lines.append(line | {"tokens_per_second": progress.tokens_per_second, "device": "cpu"})
            on_progress(progress)
        (job.directory / COUNTS).parent.mkdir(parents=True, exist_ok=True)
        arrays = model.arrays()
        np.savez(job.directory / COUNTS, contexts=arrays["contexts"], tokens=arrays["tokens"], counts=arrays["counts"])
        (job.directory / "metrics.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(lines))
        return TrainingResult(
            steps=steps,
            total_steps=total,
            tokens=tokens,
            wall_seconds=time.perf_counter() - start,
            weights_sha256=_sha256(arrays, model.smoothing),
            parameter_count=len(arrays["counts"]),
            model_config={"order": model.order, "smoothing": model.smoothing},
        )

    def load(self, job: TrainingJob, weights: Literal["initial", "final"]) -> NgramModel:
        """Return the model that has seen nothing, or the one that training saved; needs none of the job's rows."""
        model = _model(job)
        if weights == "final":
            model.restore(job.directory / COUNTS)
        return model


def supervised(rows: Batch, row: int) -> Iterator[tuple[list[int], int]]:
    """Yield every supervised token of a row with the tokens before it in its own segment."""
    tokens, mask, segments = (part[row].tolist() for part in (rows.tokens, rows.loss_mask, rows.segment_ids))
    first = 0
    for i, token in enumerate(tokens):
        if i and segments[i] != segments[i - 1]:
            first = i
        if mask[i]:
            yield tokens[first:i], token


def _learn(model: NgramModel, before: list[int], token: int) -> float:
    """Return the nats that a token costs, then count it."""
    nats = -math.log(model.probability(before, token))
    model.learn(before, token)
    return nats


def _sha256(arrays: dict[str, TokenArray], smoothing: float) -> str:
    digest = hashlib.sha256(repr(smoothing).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.astype("<i4").tobytes())
    return digest.hexdigest()


def _rows(job: TrainingJob) -> int:
    return len(job.rows.tokens)


def _batches(job: TrainingJob) -> Iterator[list[int]]:
    """Yield row numbers without end, every row once an epoch, shuffled by the seed."""
    shuffle = random.Random(job.seed)  # noqa: S311
    waiting: list[int] = []
    while True:
        while len(waiting) < job.training.rows:
            waiting += sorted(range(_rows(job)), key=lambda _: shuffle.random())
        yield waiting[: job.training.rows]
        del waiting[: job.training.rows]


def _model(job: TrainingJob) -> NgramModel:
    options = DEFAULTS | job.training.options
    for name in options:
        if name not in DEFAULTS:
            raise SpecError(f"trainer 'ngram': unknown training option '{name}'.{suggestion(name, DEFAULTS)}")
    order, smoothing = options["order"], options["smoothing"]
    if not isinstance(order, int) or order < 0:
        raise SpecError(f"trainer 'ngram': order is {order!r}, expected a whole number from 0 on")
    if not isinstance(smoothing, int | float) or smoothing <= 0:
        raise SpecError(f"trainer 'ngram': smoothing is {smoothing!r}, expected a number above 0")
    return NgramModel(job.vocab_size, order=order, smoothing=float(smoothing))

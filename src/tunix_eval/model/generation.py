"""Completions, greedy or sampled: rows that have stopped are given the next prompts.

Prompts are sorted by their bucket. Between two dispatches, rows whose completion has ended are retired, and refilled as
soon as enough of them are free for the next prefill. See `decoding` for why nothing of this changes what is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from tunix_eval.model.buckets import batches, bucket, check_ids, padded, prompt_pages, space
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params
from tunix_eval.model.decoding import (
    Rows,
    Sizes,
    dispatch,
    empty_pool,
    prefill,
    written_pages,
)
from tunix_eval.model.logprobs import next_token_logprobs
from tunix_eval.model.sampling import Draws, KeyWords, filters_of, key_words
from tunix_eval.model.vocabulary import Vocabulary
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Generation
from tunix_eval.specs import GenerationSpec

if TYPE_CHECKING:
    from tunix_eval.records import FloatArray, TokenArray

LOGPROB_ROWS = 16
"""Sequences whose log-probabilities are computed at once."""
PREFILL_TOKENS = 256
"""Tokens of prompts that are computed at once: enough for full speed, and few rows have to wait for each other."""


class FlaxModel:
    """Weights that can write."""

    def __init__(self, config: DecoderConfig, params: Params, *, pad_id: int, vocab_size: int | None = None) -> None:
        """Take weights; `vocab_size` is the tokenizer's, by default the model's."""
        self.config = config
        self.params = params
        self.pad_id = pad_id
        self.vocabulary = Vocabulary(config.vocab_size if vocab_size is None else vocab_size, pad_id)
        self.weights_sha256 = weights_sha256(params)

    def generate(
        self,
        prompts: Sequence[TokenArray],
        settings: GenerationSpec,
        *,
        stop_ids: tuple[int, ...],
        seeds: Sequence[int] = (),
        has_ended: Callable[[Sequence[int]], bool] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        """Complete every prompt (int32[T] each), in order; the pad id, and what the tokenizer lacks, is never written.

        Args:
            prompts: int32[T] each.
            settings: `stop` apart, which is about text: see `has_ended`.
            stop_ids: any of them ends a completion, and is not part of it.
            seeds: where there is a temperature, one for each prompt, 0 <= seed < 2**64.
            has_ended: asked now and then about what was written so far; where it says yes, nothing need be added.
            on_progress: told after every dispatch how many completions there are. It ends the generation by raising.

        Raises:
            RenderError: a prompt without tokens, or with ids outside the vocabulary.
            SpecError: a temperature, and not one seed for each prompt.
        """
        check_ids("prompt", prompts, self.vocabulary.size)
        words = key_words(seeds, len(prompts), settings.temperature) if settings.temperature else None
        written: dict[int, Generation] = {}
        by_space: defaultdict[int, list[int]] = defaultdict(list)
        for place, ids in enumerate(prompts):
            by_space[space(len(ids))].append(place)
        for columns in sorted(by_space):
            queue = sorted(by_space[columns], key=lambda place: bucket(len(prompts[place])))
            decoding = _Decoding(self, settings, columns=columns, words=words)
            for ended in decoding.run(queue, prompts, frozenset(stop_ids), has_ended):
                written |= ended
                if on_progress is not None:
                    on_progress(len(written))
        return [written[place] for place in range(len(prompts))]

    def token_logprobs(self, sequences: Sequence[TokenArray]) -> list[FloatArray]:
        """Return the log-probability in nats of every token but the first, given those before it, in order.

        Takes int32[T] each, gives float32[T - 1] each. That of an id which is never written is minus infinity.

        Raises:
            RenderError: a sequence without tokens, or with ids outside the vocabulary.
        """
        check_ids("sequence", sequences, self.vocabulary.size)
        found: dict[int, FloatArray] = {}
        for places, tokens, lengths in batches(sequences, rows=LOGPROB_ROWS, pad_id=self.pad_id):
            logprobs = np.asarray(
                next_token_logprobs(self.params, tokens, lengths, config=self.config, vocabulary=self.vocabulary)
            )
            for row, place in enumerate(places):
                found[place] = logprobs[row, tokens.shape[1] - lengths[row] :].copy()
        return [found[place] for place in range(len(sequences))]


@dataclass(slots=True)
class _Row:
    """A completion that is being written."""

    place: int
    """Of its prompt."""
    tokens: int
    """Of its prompt."""
    bucket: int
    ids: list[int] = field(default_factory=list)


class _Decoding:
    """Prompts that share a pool, from the first to the last."""

    def __init__(self, model: FlaxModel, settings: GenerationSpec, *, columns: int, words: KeyWords | None) -> None:
        self.model, self.settings, self.words = model, settings, words
        self.sizes = Sizes(settings.rows, prompt_pages(columns), written_pages(settings.max_new_tokens))
        self.vocabulary = model.vocabulary
        self.pool = empty_pool(model.config, self.sizes)
        self.rows: list[_Row | None] = [None] * settings.rows

    def run(
        self,
        queue: list[int],
        prompts: Sequence[TokenArray],
        stop_ids: frozenset[int],
        has_ended: Callable[[Sequence[int]], bool] | None,
    ) -> Iterator[dict[int, Generation]]:
        """Yield after every dispatch the completions that have ended, by their prompts' places."""
        first = 0
        while True:
            first += self._refill(queue, first, prompts)
            if not any(self.rows):
                return
            new, ended = self._dispatch(), {}
            for number, row in enumerate(self.rows):
                if row is None:
                    continue
                generation = self._extended(row, new[number], stop_ids)
                if generation is None and has_ended is not None and has_ended(row.ids):
                    generation = Generation(tuple(row.ids), "stop")
                if generation is not None:
                    self.rows[number] = None
                    ended[row.place] = generation
            yield ended

    def _refill(self, queue: list[int], first: int, prompts: Sequence[TokenArray]) -> int:
        """Put prompts into free rows, a full prefill at a time; return how many."""
        taken = 0
        while first + taken < len(queue):
            width = bucket(len(prompts[queue[first + taken]]))
            count = max(1, min(PREFILL_TOKENS // width, self.sizes.rows))
            places = [
                place for place in queue[first + taken : first + taken + count] if bucket(len(prompts[place])) == width
            ]
            free = [number for number, row in enumerate(self.rows) if row is None][: len(places)]
            if len(free) < len(places):
                break
            tokens, lengths = padded(
                [prompts[place] for place in places], rows=count, width=width, pad_id=self.model.pad_id
            )
            beyond = [self.sizes.rows] * (count - len(places))
            self.pool = prefill(
                self.model.params,
                self.pool,
                tokens,
                lengths,
                np.array([*free, *beyond], np.int32),
                config=self.model.config,
                vocabulary=self.vocabulary,
            )
            for number, place in zip(free, places, strict=True):
                self.rows[number] = _Row(place, len(prompts[place]), width)
            taken += len(places)
        return taken

    def _dispatch(self) -> list[list[int]]:
        """Return DISPATCH_STEPS more ids of every row."""
        stand = np.zeros((3, self.sizes.rows), np.int32)
        for number, row in enumerate(self.rows):
            if row is not None:
                stand[:, number] = row.bucket - row.tokens, row.bucket, len(row.ids)
        starts, ends, steps = stand
        ids, self.pool = dispatch(
            self.model.params,
            self.pool,
            Rows(*map(jnp.asarray, stand)),
            self._draws(),
            np.array([*_needed(self.sizes.prompts, starts, ends), *_needed(self.sizes.written, 0 * steps, steps)]),
            config=self.model.config,
            vocabulary=self.vocabulary,
        )
        written: list[list[int]] = np.asarray(ids).tolist()
        return written

    def _draws(self) -> Draws | None:
        if self.words is None:
            return None
        keys = np.zeros((self.sizes.rows, 2), np.uint32)
        for number, row in enumerate(self.rows):
            if row is not None:
                keys[number] = self.words[row.place]
        return Draws(jnp.asarray(keys), jnp.float32(self.settings.temperature), filters_of(self.settings))

    def _extended(self, row: _Row, ids: list[int], stop_ids: frozenset[int]) -> Generation | None:
        """Add ids to a row; return its completion where it has ended."""
        for token in ids[: self.settings.max_new_tokens - len(row.ids)]:
            if token in stop_ids:
                return Generation(tuple(row.ids), "stop")
            row.ids.append(token)
        return Generation(tuple(row.ids), "length") if len(row.ids) == self.settings.max_new_tokens else None


def _needed(pages: Sequence[int], starts: TokenArray, ends: TokenArray) -> Iterator[bool]:
    """Say for every page whether any row has something in its columns, from `starts` to before `ends`."""
    first = 0
    for columns in pages:
        yield bool(np.any((starts < first + columns) & (ends > np.maximum(first, starts))))
        first += columns

"""Rows that are decoded together: their cache in pages, and the two compiled programs that work on it.

A row holds one prompt until that has stopped; then the next prompt is put into it. In the cache a prompt, padded on
the left to its bucket, stands in columns 0 to bucket - 1, and what it wrote stands in columns of its own:

    row     prompt pages 16 | 16 | 32          written pages 64 | 64 | ...
    5       . . . <bos> 1 + 2 =                3 4 <eos>
    6       . <bos> 1 2 + 3 4 + 5 6 + 7 8 =    1 5 8

A dispatch decodes DISPATCH_STEPS tokens of every row. Keys and values of these stand apart (`recent`) until it ends,
so that the pages are only read within it. Rows begin at a dispatch, so that where a row's tokens stand, and in which
order they are summed up, follows from its own prompt and steps alone. A page that no row needs is not read: for a row
that has nothing in a page, reading it would add zeros and scale by one.

Axes: R rows, C columns of a page, N steps of a dispatch, H heads, K heads of keys and values, G queries that share
them, D width of a head, V vocabulary.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, decoder_with
from tunix_eval.model.layers import rotary_angles
from tunix_eval.model.sampling import Draws, next_tokens
from tunix_eval.model.vocabulary import Vocabulary, writable

DISPATCH_STEPS = 8
"""Tokens that every row writes between two looks at which rows have stopped; a row waits half of them on average."""
WRITTEN_PAGE = 64
NOTHING = -1e30
"""The score of what may not be attended to: finite, so that differences of such scores are numbers."""

KeysValues = tuple[jax.Array, jax.Array]
"""Keys and values of one layer, [R, K, C, D] each."""
Page = tuple[KeysValues, ...]
"""Those of every layer."""


class Pool(NamedTuple):
    """What the rows hold on the device."""

    logits: jax.Array
    """float32[R, V] for the next token."""
    prompts: tuple[Page, ...]
    written: tuple[Page, ...]


class Rows(NamedTuple):
    """Where the rows stand: int32[R] each."""

    starts: jax.Array
    """The column of the prompt's first token."""
    ends: jax.Array
    """The prompt's bucket; 0 for a row that holds nothing."""
    steps: jax.Array
    """Tokens written; whole dispatches."""


class Sizes(NamedTuple):
    """The shape of a pool, which follows from the settings and the prompts' own lengths."""

    rows: int
    prompts: tuple[int, ...]
    """Columns of each page for prompts."""
    written: tuple[int, ...]
    """Columns of each page for what is written; multiples of DISPATCH_STEPS."""


def written_pages(max_new_tokens: int) -> tuple[int, ...]:
    """Return the columns of each page for so many tokens; up to eight pages, and wider ones where those are too few.

    >>> written_pages(40), written_pages(100), written_pages(1000)
    ((40,), (64, 40), (128, 128, 128, 128, 128, 128, 128, 104))
    """
    columns = -(-max_new_tokens // DISPATCH_STEPS) * DISPATCH_STEPS
    page = max(WRITTEN_PAGE, -(-columns // (8 * DISPATCH_STEPS)) * DISPATCH_STEPS)
    return tuple(min(page, columns - first) for first in range(0, columns, page))


def empty_pool(config: DecoderConfig, sizes: Sizes) -> Pool:
    """Return a pool of zeros."""

    def pages(widths: tuple[int, ...]) -> tuple[Page, ...]:
        return tuple(_empty_page(config, rows=sizes.rows, columns=columns) for columns in widths)

    logits = jnp.zeros((sizes.rows, config.vocab_size), jnp.float32)
    return Pool(logits, pages(sizes.prompts), pages(sizes.written))


def _empty_page(config: DecoderConfig, *, rows: int, columns: int) -> Page:
    def zeros() -> jax.Array:
        return jnp.zeros((rows, config.kv_heads, columns, config.head_width), config.activations)

    return tuple((zeros(), zeros()) for _ in range(config.layers))


@functools.partial(jax.jit, static_argnames=("config", "vocabulary"), donate_argnames=("pool",))
def prefill(
    params: Params,
    pool: Pool,
    tokens: jax.Array,
    lengths: jax.Array,
    places: jax.Array,
    *,
    config: DecoderConfig,
    vocabulary: Vocabulary,
) -> Pool:
    """Put prompts into rows.

    Args:
        params: the weights.
        pool: consumed.
        tokens: int32[P, bucket], padded on the left.
        lengths: int32[P].
        places: int32[P], the row of each prompt; a place beyond the rows marks filler.
        config: the decoder's sizes.
        vocabulary: which ids may be written.
    """
    decoder = decoder_with(config, params)
    width = tokens.shape[1]
    columns, starts = jnp.arange(width, dtype=jnp.int32)[None], (width - lengths)[:, None]
    hidden, layers = decoder(tokens, jnp.maximum(columns - starts, 0), (columns >= starts).astype(jnp.int32))
    logits = writable(decoder.logits(hidden[:, -1:])[:, 0], vocabulary)
    pages, first = [], 0
    for page in pool.prompts:
        last = first + page[0][0].shape[2]
        if last <= width:
            parts = jax.tree.map(lambda new, first=first, last=last: new[:, :, first:last], layers)
            page = jax.tree.map(lambda held, new: held.at[places].set(new, mode="drop"), page, parts)
        pages.append(page)
        first = last
    return pool._replace(logits=pool.logits.at[places].set(logits, mode="drop"), prompts=tuple(pages))


class _Step(NamedTuple):
    """What one step of a dispatch hands to the next."""

    logits: jax.Array
    ids: jax.Array
    """int32[R, N]"""
    recent: Page
    """Of this dispatch's tokens; columns are its steps."""


@functools.partial(jax.jit, static_argnames=("config", "vocabulary"), donate_argnames=("pool",))
def dispatch(
    params: Params,
    pool: Pool,
    rows: Rows,
    draws: Draws | None,
    needed: jax.Array,
    *,
    config: DecoderConfig,
    vocabulary: Vocabulary,
) -> tuple[jax.Array, Pool]:
    """Write DISPATCH_STEPS tokens in every row.

    Args:
        params: the weights.
        pool: consumed.
        rows: where the rows stand.
        draws: keys and temperature; None takes the likeliest token.
        needed: bool[pages]; whether any row has something in this page, those for prompts first.
        config: the decoder's sizes.
        vocabulary: which ids may be written.

    Returns:
        ids int32[R, N], and the pool after them.
    """
    decoder = decoder_with(config, params)
    count, pages = pool.logits.shape[0], (*pool.prompts, *pool.written)
    masks = [page_mask[:, None, None] for page_mask in _held(pool, rows)]
    lengths = rows.ends - rows.starts

    def write_one(step: jax.Array, before: _Step) -> _Step:
        token = next_tokens(before.logits, draws, rows.steps + step)
        angles = rotary_angles((lengths + rows.steps + step)[:, None], width=config.head_width, theta=config.rope_theta)
        done = (jnp.arange(DISPATCH_STEPS, dtype=jnp.int32) <= step)[None, None, None]
        x = decoder.embedding[...][token].astype(config.activations)
        recent = []
        for index, block in enumerate(decoder.blocks):
            query, key, value = block.attention.projections(block.attention_norm(x), angles, rows=count)
            keys, values = (
                jax.lax.dynamic_update_slice_in_dim(held, new, step, axis=2)
                for held, new in zip(before.recent[index], (key, value), strict=True)
            )
            recent.append((keys, values))
            query = _scaled(query, config)
            sums = _attend(None, query, (keys, values), done)
            for number, page in enumerate(pages):
                sums = jax.lax.cond(needed[number], _attend, _unread, sums, query, page[index], masks[number])
            mixed = (sums.values / sums.weights).astype(x.dtype)
            x = x + block.attention.projected_back(mixed.reshape(count, config.heads, 1, config.head_width))
            x = x + block.mlp(block.mlp_norm(x))
        logits = writable(decoder.logits(decoder.final_norm(x)), vocabulary)
        return _Step(logits, before.ids.at[:, step].set(token), tuple(recent))

    ids = jnp.zeros((count, DISPATCH_STEPS), jnp.int32)
    first = _Step(pool.logits, ids, _empty_page(config, rows=count, columns=DISPATCH_STEPS))
    last = jax.lax.fori_loop(0, DISPATCH_STEPS, write_one, first)
    return last.ids, Pool(last.logits, pool.prompts, _merged(pool.written, last.recent, rows.steps))


class _Sums(NamedTuple):
    """Attention so far: sums over the columns that were read, relative to the largest score among them."""

    largest: jax.Array
    """float32[R, K, G, 1]"""
    weights: jax.Array
    """float32[R, K, G, 1]"""
    values: jax.Array
    """float32[R, K, G, D]"""


def _scaled(query: jax.Array, config: DecoderConfig) -> jax.Array:
    """Return [R, K, G, D] queries for [R, H, 1, D]: those that share keys together, times one over the root of D."""
    query = (query.astype(jnp.float32) * (config.head_width**-0.5)).astype(query.dtype)
    return query.reshape(len(query), config.kv_heads, -1, config.head_width)


def _attend(sums: _Sums | None, query: jax.Array, page: KeysValues, mask: jax.Array) -> _Sums:
    """Add a page's columns.

    Source: Milakov and Gimelshein 2018, "Online normalizer calculation for softmax".
    """
    keys, values = page
    scores = jnp.einsum("rkgd,rkcd->rkgc", query, keys, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores, NOTHING)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    if sums is not None:
        largest = jnp.maximum(largest, sums.largest)
    weights = jnp.where(mask, jnp.exp(scores - largest), 0.0)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    mixed = jnp.einsum("rkgc,rkcd->rkgd", weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
    if sums is None:
        return _Sums(largest, total, mixed)
    scale = jnp.exp(sums.largest - largest)
    return _Sums(largest, scale * sums.weights + total, scale * sums.values + mixed)


def _unread(sums: _Sums, *_: object) -> _Sums:
    return sums


def _held(pool: Pool, rows: Rows) -> list[jax.Array]:
    """Return for every page which columns a row has something in, bool[R, C]."""
    masks, first = [], 0
    for page in pool.prompts:
        columns = first + jnp.arange(page[0][0].shape[2], dtype=jnp.int32)[None]
        masks.append((columns >= rows.starts[:, None]) & (columns < rows.ends[:, None]))
        first += columns.shape[1]
    first = 0
    for page in pool.written:
        columns = first + jnp.arange(page[0][0].shape[2], dtype=jnp.int32)[None]
        masks.append(columns < rows.steps[:, None])
        first += columns.shape[1]
    return masks


def _merged(written: tuple[Page, ...], recent: Page, steps: jax.Array) -> tuple[Page, ...]:
    """Return the pages with a dispatch's keys and values put behind those that each row had."""
    rows = jnp.arange(len(steps), dtype=jnp.int32)[:, None]
    pages, first = [], 0
    for page in written:
        columns = page[0][0].shape[2]
        # A row that writes into another page is sent beyond this one, where it is dropped.
        starts = jnp.where((steps >= first) & (steps < first + columns), steps - first, columns)
        targets = starts[:, None] + jnp.arange(DISPATCH_STEPS, dtype=jnp.int32)[None]
        pages.append(jax.tree.map(functools.partial(_put, rows=rows, targets=targets), page, recent))
        first += columns
    return tuple(pages)


def _put(held: jax.Array, new: jax.Array, *, rows: jax.Array, targets: jax.Array) -> jax.Array:
    return held.at[rows, :, targets].set(new.transpose(0, 2, 1, 3), mode="drop")

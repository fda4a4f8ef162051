"""From completions and an evalset to scored items and a scorecard, with the records that gates are decided from."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from tunix_eval.data import encode_answer
from tunix_eval.digest import sha256_json, sha256_text
from tunix_eval.errors import SpecError
from tunix_eval.plugin.sources import Run, Source
from tunix_eval.plugin.stop_texts import cut, has_ended
from tunix_eval.records import (
    Completion,
    Evalset,
    FloatArray,
    Generation,
    Model,
    Score,
    Scorecard,
    ScoredItem,
    Scorer,
    TokenArray,
)
from tunix_eval.scoring import (
    answer_context,
    complete,
    eval_text,
    make_scorecard,
    score_items,
    scorecard_text,
    scorer_digest,
)
from tunix_eval.statistics import measured_mean
from tunix_eval.store import EvalManifest, ScorerRecord, Store, pretty_json, read_eval_manifest, write_atomic
from tunix_eval.thinking import opens_thinking

Weights = Literal["initial", "final"]
LOGPROBS = "answer_logprobs"
"""What a scorer says that it needs, where it needs log-probabilities."""
ANSWERS_AT_ONCE = 256
"""Answers whose log-probabilities are asked for in one call; between two of them it can be stopped."""
_TAIL = 64
"""Tokens at the end of a prompt that hold an opening mark of a thinking section, where it ends with one."""
Progress = Callable[[Literal["completion", "answer"], int], AbstractContextManager[Callable[[int], None]]]
"""Takes what is about to be computed, and how many; what is told how many are done may stop it by raising."""


@dataclass(frozen=True)
class Question:
    """Everything that decides which completions a run gives: their cache key is made of it."""

    run: Run
    weights: Weights
    evalset: Evalset
    environment: dict[str, Any]
    trainer_source: str

    @cached_property
    def item_prompts(self) -> list[TokenArray]:
        """Every item's prompt, int32[T] each."""
        return self.run.format.prompts(self.evalset)

    @cached_property
    def prompts(self) -> list[TokenArray]:
        """Every item's prompt, once for each repeat."""
        return [prompt for prompt in self.item_prompts for _ in range(self.run.generation.repeats)]

    @cached_property
    def opened(self) -> list[bool]:
        """Whether each prompt opens a thinking section, so that the reply begins inside it."""
        tokenizer, thinking = self.run.format.tokenizer, self.run.rule.thinking
        opened = [opens_thinking(tokenizer.decode(ids[-_TAIL:].tolist()), thinking) for ids in self.item_prompts]
        return [one for one in opened for _ in range(self.run.generation.repeats)]

    @property
    def item_repeats(self) -> list[tuple[str, int]]:
        """The id of each prompt's item, and which of its repeats the prompt is."""
        return [(str(item.id), k) for item in self.evalset.items for k in range(self.run.generation.repeats)]

    @property
    def seeds(self) -> list[int]:
        """A seed for each prompt: of the item, not of its place. Empty where nothing is drawn."""
        settings = self.run.generation
        if settings.temperature == 0:
            return []
        return [int(sha256_json([settings.seed, item_id, k])[:16], 16) for item_id, k in self.item_repeats]

    def key(self, **more: Any) -> str:
        """Return the cache key: equal weights, prompts, settings and machine type give equal completions."""
        run = self.run
        weights = run.weights_sha256 if self.weights == "final" else f"initial of {run.run_id}"
        return sha256_json(
            {
                "weights": weights,
                "model": run.manifest.model,
                "vocabulary": [run.format.tokenizer.vocab_size, run.format.tokenizer.pad_id],
                "prompts": [prompt.tolist() for prompt in self.prompts],
                "generation": run.generation.model_dump(mode="json"),
                "seeds": self.seeds,
                "stop_ids": run.format.stop_ids,
                "trainer_source": self.trainer_source,
                "environment": self.environment,
            }
            | more
        )


@dataclass(frozen=True)
class Evaluation:
    """What was written for every item of an evalset, and what that is worth."""

    source: Source
    weights: Weights
    evalset: Evalset
    scored: tuple[ScoredItem, ...]
    card: Scorecard
    scorers: Mapping[str, Scorer]
    prompts_sha256: str
    environment: dict[str, Any]


def written(
    question: Question,
    *,
    store: Store,
    load: Callable[[], Model],
    logprobs: bool,
    progress: Progress,
) -> list[Completion]:
    """Return a run's completions, written now or taken from the cache; with the answers' log-probabilities if asked.

    `progress` is called where something is computed. What it stops is not kept.
    """
    run = question.run
    tokenizer, stops = run.format.tokenizer, run.generation.stop

    def generate() -> list[Generation]:
        with progress("completion", len(question.prompts)) as update:
            model = load()
            offered = {"has_ended": has_ended(tokenizer, stops), "on_progress": update}
            # What a model of another package need not know: it goes on where it could stop, and says nothing meanwhile.
            known = inspect.signature(model.generate).parameters
            return model.generate(
                question.prompts,
                run.generation,
                stop_ids=run.format.stop_ids,
                seeds=question.seeds,
                **{name: value for name, value in offered.items() if name in known},
            )

    generations = store.cached(question.key(), Generation, len(question.prompts), generate, run_id=run.run_id)
    completions = []
    for (item_id, repeat), opened, generation in zip(question.item_repeats, question.opened, generations, strict=True):
        text, generation = cut(generation, tokenizer, stops)
        completions.append(
            complete(
                item_id,
                text,
                rule=run.rule,
                stop_reason=generation.stop_reason,
                tokens=len(generation.ids),
                repeat=repeat,
                opened=opened,
            )
        )
    return _with_logprobs(question, completions, store=store, load=load, progress=progress) if logprobs else completions


def _with_logprobs(
    question: Question, completions: list[Completion], *, store: Store, load: Callable[[], Model], progress: Progress
) -> list[Completion]:
    """Judge the expected answer where the model would have written its own: after its last answer mark."""
    form, rule = question.run.format, question.run.rule
    expected = {str(item.id): item.expected_answer for item in question.evalset.items}
    sequences, counts = [], []
    for prompt, opened, completion in zip(question.prompts, question.opened, completions, strict=True):
        context, lead, tail = answer_context(completion.text, rule, opened=opened)
        ids, count = encode_answer(
            prompt,
            context=f"{context}{lead}",
            answer=f"{expected[completion.item_id]}{tail}",
            renderer=form.renderer,
            tokenizer=form.tokenizer,
        )
        sequences.append(ids)
        counts.append(count)

    # JSON has no infinity: a token that cannot be written is cached as null.
    def measure() -> list[tuple[float | None, ...]]:
        # Those of one length beside each other, which fills the model's batches.
        places = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
        found: dict[int, FloatArray] = {}
        with progress("answer", len(sequences)) as update:
            model = load()
            if not hasattr(model, "token_logprobs"):
                raise SpecError(
                    f"trainer '{question.run.trainer}' gives no log-probabilities (its model has no token_logprobs), "
                    "which a scorer needs; take that scorer out of the run file"
                )
            for first in range(0, len(places), ANSWERS_AT_ONCE):
                asked = places[first : first + ANSWERS_AT_ONCE]
                found.update(zip(asked, model.token_logprobs([sequences[place] for place in asked]), strict=True))
                update(len(found))
        return [
            tuple(value if math.isfinite(value) else None for value in found[place][-count:].tolist())
            for place, count in enumerate(counts)
        ]

    key = question.key(sequences=[sequence.tolist() for sequence in sequences], counts=counts)
    measured = store.cached(key, tuple[float | None, ...], len(sequences), measure, run_id=question.run.run_id)
    return [
        msgspec.structs.replace(
            completion, answer_logprobs=tuple(-math.inf if value is None else value for value in values)
        )
        for completion, values in zip(completions, measured, strict=True)
    ]


def needs_logprobs(scorers: Mapping[str, Scorer]) -> list[str]:
    """Return the names of the scorers that need log-probabilities.

    Raises:
        SpecError: a scorer needs something that there is not.
    """
    for name, scorer in scorers.items():
        odd = [need for need in getattr(scorer, "needs", ()) if need != LOGPROBS]
        if odd:
            raise SpecError(f"scorer '{name}' needs '{odd[0]}', which there is not; known: {LOGPROBS}")
    return [name for name, scorer in scorers.items() if LOGPROBS in getattr(scorer, "needs", ())]


def evaluated(
    source: Source,
    weights: Weights,
    evalset: Evalset,
    completions: list[Completion],
    scorers: Mapping[str, Scorer],
    *,
    prompts_sha256: str,
    environment: dict[str, Any],
) -> Evaluation:
    """Score completions. Scores are never cached."""
    repeats = len(completions) // len(evalset.items)
    scored = score_items(evalset.items, completions, scorers, repeats=repeats)
    card = make_scorecard(evalset.name, scored, scorers)
    return Evaluation(source, weights, evalset, tuple(scored), card, scorers, prompts_sha256, environment)


def item_means(scored: Sequence[ScoredItem]) -> list[ScoredItem]:
    """Return each item once: with its first completion, and the means of its completions' scores."""
    by_item: dict[str, list[ScoredItem]] = {}
    for one in scored:
        by_item.setdefault(one.completion.item_id, []).append(one)
    if len(by_item) == len(scored):
        return list(scored)
    return [
        msgspec.structs.replace(same[0], scores={metric: _mean_score(metric, same) for metric in same[0].scores})
        for same in by_item.values()
    ]


def _mean_score(metric: str, scored: Sequence[ScoredItem]) -> Score:
    scores = [one.scores[metric] for one in scored]
    unmeasured = next((score for score in scores if score.value is None), None)
    return unmeasured or Score(measured_mean([score.value for score in scores]))


def record(evaluation: Evaluation) -> None:
    """Write the records of an evaluation into the run directory, where they differ from what is there."""
    source, name = evaluation.source, evaluation.evalset.name
    when = "after" if evaluation.weights == "final" else "before"
    lines = eval_text(evaluation.scored)
    _write_changed(source.directory / f"eval_{when}.{name}.jsonl", lines)
    if when == "before":
        return
    _write_changed(source.directory / f"scorecard.{name}.json", scorecard_text(evaluation.card))
    manifest = EvalManifest(
        run_name=source.spec.name,
        run_id=source.run_id,
        source=source.kind,
        status="truncated" if source.truncated else "complete",
        seed=source.seed,
        weights_sha256=source.weights_sha256,
        recipe_sha256=source.recipe_sha256,
        evalset=name,
        evalset_sha256=evaluation.evalset.sha256,
        prompts_sha256=evaluation.prompts_sha256,
        lines_sha256=sha256_text(lines),
        generation=source.generation.model_dump(mode="json") if isinstance(source, Run) else None,
        answer=asdict(source.rule),
        scorers={
            metric: ScorerRecord(
                sha256=scorer_digest(scorer, source.spec.answer, source.spec.thinking),
                lower_is_better=scorer.lower_is_better,
                bounds=_finite(getattr(scorer, "bounds", None)),
            )
            for metric, scorer in evaluation.scorers.items()
        },
        packages=source.packages,
        device=source.device,
        environment=evaluation.environment,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    path = source.directory / f"eval_manifest.{name}.json"
    held = read_eval_manifest(path)
    if held is None or held.model_copy(update={"created_at": manifest.created_at}) != manifest:
        write_atomic(path, pretty_json(manifest.model_dump(mode="json")))


def _finite(bounds: tuple[float, float] | None) -> tuple[float | None, float | None] | None:
    """Return bounds as JSON can hold them."""
    low, high = bounds or (-math.inf, math.inf)
    return None if bounds is None else (low if math.isfinite(low) else None, high if math.isfinite(high) else None)


def _write_changed(path: Path, text: str) -> bool:
    """Write a file unless it already holds this text, so that a session that changes nothing writes nothing."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_atomic(path, text)
    return True

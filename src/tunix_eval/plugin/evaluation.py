"""From a run and an evalset to scored items and a scorecard, with the records that gates are decided from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from tunix_eval.digest import sha256_json
from tunix_eval.plugin.prepare import Format, prompts_sha256
from tunix_eval.records import Evalset, Generation, Model, Scorecard, ScoredItem, Scorer, TokenArray
from tunix_eval.scoring import complete, eval_text, make_scorecard, score_items, scorecard_text
from tunix_eval.specs import GenerationSpec
from tunix_eval.store import RunManifest, Store, pretty_json, write_atomic

Weights = Literal["initial", "final"]


@dataclass(frozen=True)
class Question:
    """Everything that decides which completions a run gives: their cache key is made of it."""

    manifest: RunManifest
    weights: Weights
    evalset: Evalset
    format: Format
    generation: GenerationSpec
    environment: dict[str, Any]
    trainer_source: str

    def prompts(self) -> list[TokenArray]:
        """Return every item's prompt, int32[T] each."""
        return self.format.prompts(self.evalset)

    def key(self, prompts: list[TokenArray]) -> str:
        """Return the cache key: equal weights, prompts, settings and machine type give equal completions."""
        weights = self.manifest.weights_sha256 if self.weights == "final" else f"initial of {self.manifest.run_id}"
        return sha256_json(
            {
                "weights": weights,
                "model": self.manifest.model,
                "vocabulary": [self.format.tokenizer.vocab_size, self.format.tokenizer.pad_id],
                "prompts": [prompt.tolist() for prompt in prompts],
                "generation": self.generation.model_dump(mode="json"),
                "stop_ids": self.format.stop_ids,
                "trainer_source": self.trainer_source,
                "environment": self.environment,
            }
        )


@dataclass(frozen=True)
class Evaluation:
    """What a run's model wrote for every item of an evalset, and what that is worth."""

    question: Question
    scored: tuple[ScoredItem, ...]
    card: Scorecard
    prompts_sha256: str


def evaluate(question: Question, scorers: dict[str, Scorer], *, store: Store, load: Callable[[], Model]) -> Evaluation:
    """Complete every item, or take the completions that are recorded, and score them. Scores are never cached."""
    prompts = question.prompts()
    key = question.key(prompts)
    generations = store.find_generations(key)
    if generations is None or len(generations) != len(prompts):
        with store.lock(f"completions-{key[:16]}"):
            generations = store.find_generations(key)
            if generations is None or len(generations) != len(prompts):
                generations = load().generate(prompts, question.generation, stop_ids=question.format.stop_ids)
                store.record_generations(key, generations)
    return _score(question, generations, scorers, prompts_sha256(question.evalset, prompts))


def _score(question: Question, generations: list[Generation], scorers: dict[str, Scorer], digest: str) -> Evaluation:
    decode = question.format.tokenizer.decode
    completions = [
        complete(
            str(item.id),
            decode(generation.ids),
            mark=question.format.mark,
            stop_reason=generation.stop_reason,
            tokens=len(generation.ids),
        )
        for item, generation in zip(question.evalset.items, generations, strict=True)
    ]
    scored = score_items(question.evalset.items, completions, scorers)
    card = make_scorecard(question.evalset.name, scored, scorers)
    return Evaluation(question, tuple(scored), card, digest)


def record(evaluation: Evaluation, directory: Path) -> None:
    """Write the records of an evaluation into the run directory, where they differ from what is there."""
    question = evaluation.question
    name = question.evalset.name
    when = "after" if question.weights == "final" else "before"
    _write_changed(directory / f"eval_{when}.{name}.jsonl", eval_text(evaluation.scored))
    if when == "before":
        return
    _write_changed(directory / f"scorecard.{name}.json", scorecard_text(evaluation.card))
    manifest = {
        "format_version": 1,
        "evalset": name,
        "evalset_sha256": question.evalset.sha256,
        "prompts_sha256": evaluation.prompts_sha256,
        "generation": question.generation.model_dump(mode="json"),
        "answer_mark": [question.format.mark.open, question.format.mark.close],
        "weights_sha256": question.manifest.weights_sha256,
        "environment": question.environment,
    }
    path = directory / f"eval_manifest.{name}.json"
    if _without_time(path) != msgspec.to_builtins(manifest):
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        write_atomic(path, pretty_json(manifest | {"created_at": created_at}))


def _without_time(path: Path) -> Any:
    """Return what an eval manifest holds, but when it was made; None where there is none."""
    try:
        held = msgspec.json.decode(path.read_bytes())
        held.pop("created_at")
    except (OSError, msgspec.DecodeError, AttributeError, KeyError):
        return None
    return held


def _write_changed(path: Path, text: str) -> bool:
    """Write a file unless it already holds this text, so that a session that changes nothing writes nothing."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_atomic(path, text)
    return True

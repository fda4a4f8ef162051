"""Records as sessions leave them: runs with their evaluations, and baselines, in a folder of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tunix_eval.cli import main
from tunix_eval.data import make_evalset
from tunix_eval.digest import sha256_text
from tunix_eval.gate import RunOrigin, baseline_text, make_baseline
from tunix_eval.records import EvalItem, Evalset, ScoredItem
from tunix_eval.scoring import (
    ANSWER_RULES,
    BUILTIN_SCORERS,
    complete,
    eval_text,
    make_scorecard,
    read_eval,
    score_items,
    scorecard_text,
    scorer_digest,
)
from tunix_eval.store import EvalManifest, ScorerRecord, pretty_json, read_eval_manifest, write_atomic

SCORERS = {name: BUILTIN_SCORERS[name] for name in ("exact", "answer_nll")}
EVALSET = "addition-heldout"
N_ITEMS = 100


def addition(n_items: int = N_ITEMS, name: str = EVALSET, **fields: Any) -> Evalset:
    """Sums: the first half easy, the other hard."""
    return make_evalset(
        name,
        [
            EvalItem(
                id=f"i{i:03d}",
                prompt=f"{i}+1=",
                expected_answer=str(i + 1),
                category="easy" if i < n_items / 2 else "hard",
                **fields,
            )
            for i in range(n_items)
        ],
    )


@dataclass
class Records:
    """A project's records, and the command called in its folder."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def run(
        self,
        *,
        name: str = "addition",
        seed: int = 0,
        wrong: Collection[int] = (),
        nll: Sequence[float] | None = None,
        answers: Mapping[int, str] | None = None,
        evalset: Evalset | None = None,
        recipe: str | None = "recipe",
        weights: str | None = None,
        artifacts: str = "artifacts",
        repeats: int = 1,
        **changed: Any,
    ) -> str:
        """Record a run whose (first) answers to some items are wrong, and return its id."""
        evalset = evalset or addition()
        scored = _scored(evalset, wrong, nll, answers or {}, repeats)
        lines = eval_text(scored)
        run_id = sha256_text(f"{name} {seed} {recipe}")[:16]
        folder = self.root / artifacts / "runs" / run_id
        manifest = EvalManifest(
            run_name=name,
            run_id=run_id,
            source="training" if recipe else "predictions",
            status="complete",
            seed=seed,
            weights_sha256=sha256_text(weights or run_id),
            recipe_sha256=sha256_text(recipe) if recipe else None,
            evalset=evalset.name,
            evalset_sha256=evalset.sha256,
            prompts_sha256=sha256_text("prompts"),
            lines_sha256=sha256_text(lines),
            generation={"max_new_tokens": 16, "temperature": 0.0} if recipe else None,
            answer=asdict(ANSWER_RULES["text"]),
            scorers={
                metric: ScorerRecord(
                    sha256=scorer_digest(scorer),
                    lower_is_better=scorer.lower_is_better,
                    bounds=(0.0, 1.0) if metric == "exact" else (0.0, None),
                )
                for metric, scorer in SCORERS.items()
            },
            packages={},
            device={},
            environment={},
            created_at=f"2025-01-0{1 + seed % 9}T00:00:00+00:00",
        ).model_copy(update=changed)
        write_atomic(folder / f"eval_after.{evalset.name}.jsonl", lines)
        card = make_scorecard(evalset.name, scored, SCORERS)
        write_atomic(folder / f"scorecard.{evalset.name}.json", scorecard_text(card))
        write_atomic(folder / f"eval_manifest.{evalset.name}.json", pretty_json(manifest.model_dump(mode="json")))
        return run_id

    def rewrite(self, run_id: str, old: str, new: str, count: int) -> None:
        """Record other lines, as a session would have that measured so."""
        folder = self.directory(run_id)
        lines = (folder / f"eval_after.{EVALSET}.jsonl").read_text().replace(old, new, count)
        write_atomic(folder / f"eval_after.{EVALSET}.jsonl", lines)
        path = folder / f"eval_manifest.{EVALSET}.json"
        held = read_eval_manifest(path)
        assert held is not None
        changed = held.model_copy(update={"lines_sha256": sha256_text(lines)})
        write_atomic(path, pretty_json(changed.model_dump(mode="json")))

    def directory(self, run_id: str) -> Path:
        return self.root / "artifacts" / "runs" / run_id

    def baseline(self, *run_ids: str, evalset: str = EVALSET, folder: str = "baselines") -> Path:
        """Commit a baseline of recorded runs."""
        runs = []
        for run_id in run_ids:
            held = read_eval_manifest(self.directory(run_id) / f"eval_manifest.{evalset}.json")
            assert held is not None
            source = RunOrigin(
                run_id=run_id, seed=held.seed, weights_sha256=held.weights_sha256, packages={}, device={}
            )
            runs.append((source, read_eval(self.directory(run_id) / f"eval_after.{evalset}.jsonl")))
        baseline = make_baseline(
            run_name=held.run_name,
            evalset=evalset,
            evalset_sha256=held.evalset_sha256,
            prompts_sha256=held.prompts_sha256,
            scorers={name: (record.sha256, record.lower_is_better) for name, record in held.scorers.items()},
            runs=runs,
            created_at=datetime(2025, 1, 1, tzinfo=UTC),
        )
        path = self.root / folder / held.run_name / f"{evalset}.json"
        write_atomic(path, baseline_text(baseline))
        return path

    def call(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, output and errors of the command."""
        code = main(words)
        out, err = self.capsys.readouterr()
        return code, out, err

    def refused(self, *words: str) -> tuple[int, str]:
        """Return exit code and message of a command that prints nothing but one line of errors."""
        code, out, err = self.call(*words)
        assert out == ""
        assert err.startswith("tunix-eval: ")
        assert err.count("\n") == 1
        return code, err.removeprefix("tunix-eval: ").rstrip("\n")


def _scored(
    evalset: Evalset, wrong: Collection[int], nll: Sequence[float] | None, answers: Mapping[int, str], repeats: int
) -> list[ScoredItem]:
    completions = []
    for i, item in enumerate(evalset.items):
        for k in range(repeats):
            text = answers.get(i, "wrong" if i in wrong and k == 0 else item.expected_answer)
            made = complete(str(item.id), text, rule=ANSWER_RULES["text"], stop_reason="stop", tokens=3, repeat=k)
            logprobs = None if nll is None else (-nll[i],)
            completions.append(msgspec.structs.replace(made, answer_logprobs=logprobs))
    return score_items(evalset.items, completions, SCORERS, repeats=repeats)

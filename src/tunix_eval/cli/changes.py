"""What changed in a metric between two sides of recorded runs: as a whole, by group, and by item."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from tunix_eval.cli.recorded import Evaluation
from tunix_eval.gate import decide
from tunix_eval.records import RunScores, ScoredItem
from tunix_eval.report import GroupChange, ItemChange, MetricChange
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import mean
from tunix_eval.tables import validated


@dataclass(frozen=True)
class Change:
    """One metric on both sides; each side's evaluations are of the same items."""

    metric: str
    reference: Sequence[Evaluation]
    current: Sequence[Evaluation]

    @property
    def like(self) -> Evaluation:
        """The first run of the reference side."""
        return self.reference[0]

    @property
    def lower_is_better(self) -> bool:
        """As the scorer declared it."""
        return self.like.manifest.scorers[self.metric].lower_is_better

    @cached_property
    def scores(self) -> tuple[list[RunScores], list[RunScores]]:
        """Both sides' values of the items that have one in every run."""
        reference, current = ([one.scores(self.metric) for one in side] for side in (self.reference, self.current))
        runs = [*reference, *current]
        kept = [one for one in reference[0].values if all(run.values[one] is not None for run in runs)]

        def narrowed(run: RunScores) -> RunScores:
            return msgspec.structs.replace(run, values={item_id: run.values[item_id] for item_id in kept})

        return [narrowed(run) for run in reference], [narrowed(run) for run in current]

    @cached_property
    def pairs(self) -> dict[str, tuple[float, float]]:
        """Item id -> its value on both sides, the mean over the side's runs."""
        reference, current = self.scores
        return {one: (_mean_value(reference, one), _mean_value(current, one)) for one in reference[0].values}

    @cached_property
    def gains(self) -> dict[str, float]:
        """Item id -> how much better it is on the current side."""
        sign = -1 if self.lower_is_better else 1
        return {item_id: sign * (new - old) for item_id, (old, new) in self.pairs.items()}

    def summary(self, alpha: float) -> MetricChange:
        """Compare the sides as a `better` gate does: items, or run means where a side has several runs."""
        asked = {"rule": "better", "metric": self.metric, "than": self.like.manifest.run_id, "alpha": alpha}
        gate = validated(GateSpec, asked, where="compare")
        reference, current = self.scores
        change = MetricChange(
            metric=self.metric,
            lower_is_better=self.lower_is_better,
            n_items=len(self.pairs),
            n_left_out=len(self.like.items) - len(self.pairs),
            level=1 - 2 * alpha,
        )
        if not self.pairs:
            return change
        found = decide(
            gate,
            run_name=self.like.manifest.run_name,
            evalset=self.like.manifest.evalset,
            current=current,
            reference=reference,
            lower_is_better=self.lower_is_better,
            clusters=self.like.clusters,
        )
        one_sided = found.p_value
        return msgspec.structs.replace(
            change,
            reference=found.reference,
            current=found.current,
            delta=found.delta,
            interval=found.interval,
            bootstrap=found.bootstrap,
            p_value=None if one_sided is None else min(1.0, 2 * min(one_sided, 1 - one_sided)),
            lost=sum(gain < 0 for gain in self.gains.values()),
            won=sum(gain > 0 for gain in self.gains.values()),
            unit=found.unit,
            method=found.method,
            notes=found.notes,
        )

    def groups(self) -> list[GroupChange]:
        """Summarise the items of each section, category and difficulty; items without one are in no group."""
        members: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for item_id, pair in self.pairs.items():
            for field in ("section", "category", "difficulty"):
                if (name := getattr(self.like.items[item_id].item, field)) is not None:
                    members[field, name].append(pair)
        return [
            GroupChange(
                field=field,
                name=name,
                n_items=len(pairs),
                reference=mean([old for old, _ in pairs]),
                current=mean([new for _, new in pairs]),
            )
            for (field, name), pairs in sorted(members.items())
        ]

    def worse(self, limit: int) -> list[ItemChange]:
        """Return the items that got worse, the largest changes first."""
        lost = sorted((gain, item_id) for item_id, gain in self.gains.items() if gain < 0)
        return [self._item(item_id) for _, item_id in lost[:limit]]

    def better(self, limit: int) -> list[ItemChange]:
        """Return the items that got better, the largest changes first."""
        won = sorted((-gain, item_id) for item_id, gain in self.gains.items() if gain > 0)
        return [self._item(item_id) for _, item_id in won[:limit]]

    def _item(self, item_id: str) -> ItemChange:
        old, new = self.reference[0].items[item_id], self.current[0].items[item_id]
        return ItemChange(
            item_id=item_id,
            expected=old.item.expected_answer,
            reference=self.pairs[item_id][0],
            current=self.pairs[item_id][1],
            reference_answer=_answer(old),
            current_answer=_answer(new),
        )


def _mean_value(runs: Sequence[RunScores], item_id: str) -> float:
    return mean([value for run in runs if (value := run.values[item_id]) is not None])


def _answer(one: ScoredItem) -> str:
    if one.completion.answer is None:
        return f"(no answer: {one.completion.status})"
    return one.completion.answer or "(empty)"

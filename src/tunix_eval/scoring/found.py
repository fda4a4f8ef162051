"""Which rule would find answers in replies: what to say where the one that was asked for finds none."""

from __future__ import annotations

from collections.abc import Sequence

from tunix_eval.answers import ANSWER_RULES
from tunix_eval.records import AnswerRule, Completion
from tunix_eval.scoring.extraction import extract

_WORTH_NAMING = 0.5
"""The share of replies in which a rule has to find an answer before it is proposed."""


def rules_that_find(completions: Sequence[Completion], *, whole: bool = True) -> dict[str, int]:
    """Return rule -> in how many replies it finds an answer, the best first; rules that miss most of them are left out.

    `text` is left out too: it takes every reply for an answer.

    Args:
        completions: the replies, with their texts.
        whole: whether an answer that is the whole reply counts.
    """

    def finds(one: Completion, rule: AnswerRule) -> bool:
        answer, _ = extract(one.said, rule, stop_reason=one.stop_reason)
        return bool(answer) and (whole or answer != one.said.strip())

    found = {
        name: sum(finds(one, rule) for one in completions) for name, rule in ANSWER_RULES.items() if name != "text"
    }
    # Almost every text has a number, so that a mark that finds as many says more.
    order = sorted(found, key=lambda name: (-found[name], name == "last_number"))
    return {name: found[name] for name in order if found[name] > _WORTH_NAMING * len(completions)}


def better_rules(completions: Sequence[Completion]) -> str:
    """Say which rules find answers in these replies: "`last_number` finds one in 1,301 of 1,319"; empty for none."""
    named = [f"`{name}` finds one in {count:,}" for name, count in list(rules_that_find(completions).items())[:2]]
    return f"{', '.join(named)} of {len(completions):,}" if named else ""

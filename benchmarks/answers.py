"""Who reads numbers rightly: the `numeric` scorer beside math-verify and lm-eval, on pairs judged by hand.

make bench-answers

A pair is an expected answer, a reply, and whether a reader who sees both calls the reply right. Short replies are
answers as they stand behind a mark or in a box; those of the last kind are whole replies, of which the last number is
taken. The exit code is 1 where ours is falsely right or falsely wrong more often than is asked.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lm_eval.api.metrics import exact_match_fn
from lm_eval.filters.extraction import RegexFilter
from lm_eval.tasks.minerva_math.utils import is_equiv, normalize_final_answer
from math_verify import parse, verify

from tunix_eval.records import EvalItem
from tunix_eval.scoring import ANSWER_RULES, NumericScorer, complete

PACKAGES = ("math-verify", "lm-eval", "sympy", "latex2sympy2-extended", "antlr4-python3-runtime")
SETS = {"judged": "judged.jsonl", "held out": "judged_heldout.jsonl"}
FOLDER = Path(__file__).resolve().parents[1] / "tests" / "scoring"
WHOLE_REPLIES = "replies"
ASKED_RIGHT, ASKED_WRONG, ASKED_OF = 3, 15, 671
# As gsm8k.yaml of lm-eval has them.
FLEXIBLE = RegexFilter(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)
IGNORED = [",", "\\$", "(?s).*#### ", "\\.$"]


@dataclass(frozen=True, slots=True)
class Pair:
    """An expected answer, a reply, and the verdict by hand."""

    kind: str
    expected: str
    reply: str
    right: bool

    @property
    def whole(self) -> bool:
        """Whether the reply is all that a model wrote."""
        return self.kind.startswith(WHOLE_REPLIES)


def ours(pair: Pair) -> bool:
    """Judge by answer rule and scorer."""
    rule = ANSWER_RULES["last_number" if pair.whole else "text"]
    completion = complete("i", pair.reply, rule=rule, stop_reason="stop", tokens=None)
    item = EvalItem(id="i", prompt="?", expected_answer=pair.expected)
    return NumericScorer()(item, completion).value == 1.0


def math_verify(pair: Pair) -> bool:
    """Judge by math-verify: the expected answer as a formula, a short reply in a box."""
    gold = parse(f"${pair.expected}$") or parse(pair.expected)
    return bool(verify(gold, parse(pair.reply if pair.whole else f"\\boxed{{{pair.reply}}}")))


def gsm8k(pair: Pair) -> bool:
    """Judge by lm-eval's GSM8K: its flexible extraction, then an exact match but for commas and dollar signs."""
    found = FLEXIBLE.apply([[pair.reply]], [{}])[0][0]
    score = exact_match_fn(predictions=[found], references=[pair.expected], ignore_case=True, regexes_to_ignore=IGNORED)
    return bool(score["exact_match"])


def minerva(pair: Pair) -> bool:
    """Judge by lm-eval's Minerva: both normalised, then equal by text or by sympy."""
    return bool(is_equiv(normalize_final_answer(pair.reply), normalize_final_answer(pair.expected)))


JUDGES: Mapping[str, Callable[[Pair], bool]] = {
    "numeric": ours,
    "math-verify": math_verify,
    "lm-eval gsm8k (flexible)": gsm8k,
    "lm-eval minerva_math": minerva,
}


def read(name: str) -> list[Pair]:
    """Return the pairs of a set."""
    lines = (FOLDER / SETS[name]).read_text(encoding="utf-8").splitlines()
    return [Pair(**json.loads(line)) for line in lines]


def main() -> int:
    """Judge and print."""
    logging.disable()
    warnings.simplefilter("ignore")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}\n")
    print("| set | judge | pairs | falsely right | falsely wrong | verdict |\n|---|---|---|---|---|---|")
    within = True
    for name in SETS:
        for judge, judged in JUDGES.items():
            # Minerva's extraction wants a fixed last sentence, which whole replies do not have.
            pairs = [pair for pair in read(name) if not (judged is minerva and pair.whole)]
            false = Counter((found, pair.kind) for pair in pairs if (found := judged(pair)) != pair.right)
            right, wrong = (sum(count for (one, _), count in false.items() if one is found) for found in (True, False))
            scale = len(pairs) / ASKED_OF
            good = right <= ASKED_RIGHT * scale and wrong <= ASKED_WRONG * scale
            verdict = ("within" if good else "not within") if judged is ours else ""
            within &= good or judged is not ours
            print(f"| {name} | {judge} | {len(pairs)} | {right} | {wrong} | {verdict} |", flush=True)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())

"""Scoring: from a completion's text to an answer, its scores, and the scorecard of an evalset."""

from tunix_eval.answers import ANSWER_RULES
from tunix_eval.scoring.evalfile import eval_text, read_eval
from tunix_eval.scoring.extraction import answer_context, complete, extract
from tunix_eval.scoring.found import better_rules, rules_that_find
from tunix_eval.scoring.numeric import NumericScorer
from tunix_eval.scoring.scorecard import make_scorecard, scorecard_text
from tunix_eval.scoring.scorers import (
    BUILTIN_SCORERS,
    AnswerNllScorer,
    ContainsScorer,
    ExactScorer,
    score_items,
    scorer_digest,
    unmeasured,
)

__all__ = [
    "ANSWER_RULES",
    "BUILTIN_SCORERS",
    "AnswerNllScorer",
    "ContainsScorer",
    "ExactScorer",
    "NumericScorer",
    "answer_context",
    "better_rules",
    "complete",
    "eval_text",
    "extract",
    "make_scorecard",
    "read_eval",
    "rules_that_find",
    "score_items",
    "scorecard_text",
    "scorer_digest",
    "unmeasured",
]

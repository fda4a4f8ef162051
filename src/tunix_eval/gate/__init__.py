"""Gates: baselines, the statistics of a comparison, and the verdict."""

from tunix_eval.gate.baseline import (
    DEFAULT_RUNS,
    Baseline,
    BaselineMetric,
    BaselineRun,
    RunOrigin,
    baseline_runs,
    check_comparable,
    check_equal_scores,
    completions_sha256,
    make_baseline,
    run_scores,
    update_command,
)
from tunix_eval.gate.baseline_file import baseline_text, read_baseline
from tunix_eval.gate.changes import describe_change, same_content
from tunix_eval.gate.correction import corrected, family_of
from tunix_eval.gate.foresee import foreseen
from tunix_eval.gate.needed import needed
from tunix_eval.gate.rules import decide
from tunix_eval.gate.scale import check_drop, check_scale
from tunix_eval.gate.unanswered import NEARLY_NONE, check_answered
from tunix_eval.gate.verdicts import not_decided

__all__ = [
    "DEFAULT_RUNS",
    "NEARLY_NONE",
    "Baseline",
    "BaselineMetric",
    "BaselineRun",
    "RunOrigin",
    "baseline_runs",
    "baseline_text",
    "check_answered",
    "check_comparable",
    "check_drop",
    "check_equal_scores",
    "check_scale",
    "completions_sha256",
    "corrected",
    "decide",
    "describe_change",
    "family_of",
    "foreseen",
    "make_baseline",
    "needed",
    "not_decided",
    "read_baseline",
    "run_scores",
    "same_content",
    "update_command",
]

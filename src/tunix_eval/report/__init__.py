"""Reports: the session's table, the delta report of a run, recorded runs side by side, and all of it as JSON."""

from tunix_eval.report.comparison import (
    ComparedRuns,
    ComparisonReport,
    EvalsetComparison,
    GroupChange,
    ItemChange,
    MetricChange,
    comparison_json,
    comparison_lines,
)
from tunix_eval.report.delta import delta_report
from tunix_eval.report.layout import cut
from tunix_eval.report.table import session_table, verdicts_json
from tunix_eval.report.words import second_look

__all__ = [
    "ComparedRuns",
    "ComparisonReport",
    "EvalsetComparison",
    "GroupChange",
    "ItemChange",
    "MetricChange",
    "comparison_json",
    "comparison_lines",
    "cut",
    "delta_report",
    "second_look",
    "session_table",
    "verdicts_json",
]

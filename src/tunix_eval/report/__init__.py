"""Reports: the session's table, the delta report of a run, and the verdicts as JSON."""

from tunix_eval.report.delta import delta_report
from tunix_eval.report.table import session_table, verdicts_json

__all__ = ["delta_report", "session_table", "verdicts_json"]

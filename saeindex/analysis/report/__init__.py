"""Results as readable pages."""

from saeindex.analysis.report.writing import write_report

__all__ = ["write_report"]

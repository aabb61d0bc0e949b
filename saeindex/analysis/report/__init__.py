"""Results as readable pages."""

from saeindex.report.page import write_report

__all__ = ["write_report"]

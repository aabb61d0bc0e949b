"""Alerts on change against a reference or a saved baseline."""

from saeindex.analysis.monitor import report as report  # registers how results are described

"""What changes over an ordered field."""

from saeindex.analysis.drift import report as report  # registers how results are described

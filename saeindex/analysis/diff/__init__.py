"""What differs between groups of records."""

from saeindex.analysis.diff import report as report  # registers how results are described

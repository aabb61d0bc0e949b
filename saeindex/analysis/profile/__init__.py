"""What is distinctive of a set of records."""

from saeindex.analysis.profile import report as report  # registers how results are described

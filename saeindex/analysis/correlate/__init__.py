"""Which concepts go together, and what in prompts triggers a behaviour of responses."""

from saeindex.analysis.correlate import report as report  # registers how results are described

"""Clusters along an axis."""

from saeindex.analysis.cluster import report as report  # registers how results are described

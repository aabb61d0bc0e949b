"""Where records come from: files, folders, data sets and Python iterables, all opened by ``open_source``."""

from __future__ import annotations

from saeindex.indexing.sources.columns import Columns
from saeindex.indexing.sources.open_source import open_source

__all__ = ["Columns", "open_source"]

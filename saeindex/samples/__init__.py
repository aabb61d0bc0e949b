"""Texts that come with the package, to try it on: paragraphs of speeches, read with :func:`speeches`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from saeindex.types import Record

SPEECHES = Path(__file__).with_name("speeches.jsonl.gz")


def speeches() -> list[Record]:
    """Return 652 paragraphs of 43 State of the Union speeches of 1945 to 2006, in their order.

    Their metadata are ``year``, ``president`` and ``party``. They are in the public domain, taken from the
    corpora of NLTK, and the concepts of the package were not fitted on them.
    """
    lines = gzip.decompress(SPEECHES.read_bytes()).decode("utf-8").splitlines()
    return [Record(one["id"], one["text"], one["metadata"]) for one in map(json.loads, lines)]

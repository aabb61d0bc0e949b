"""What is read: the default space, and the records that are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import data, mixture
from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE

if TYPE_CHECKING:
    from benchmarks.corpora import CachedEncoder
    from saeindex.types import Record

GENERAL = (
    "wikisplit", "topical_chat", "sgd", "nq_open", "gsm8k", "goemotions", "clinc150", "sentence_polarity",
    "medquad", "scicite", "stackoverflow_titles", "subjectivity", "tweeteval_stance",
)  # fmt: skip
GROUPS = {"general": GENERAL, "kept_out": mixture.KEPT_OUT}
VERSIONS = ("v2",)
# Texts of a corpus that are asked about, and the longest that is read.
ASKED, MAX_CHARS = 500, 600


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A space by its name."""

    name: str
    space: FeatureSpace

    def name_of(self, feature: int) -> str:
        """Return the name of a feature."""
        return self.space.labels[feature].text


def versions(encoder: CachedEncoder, corpora: Sequence[str]) -> list[Version]:
    """Return what is compared, with the names in these corpora."""
    space = FeatureSpace.load(DEFAULT_SPACE)
    return [Version(name, space) for name in VERSIONS]


def asked(corpus: str) -> list[Record]:
    """Return the records of the `test` part that may be asked about: the first that are short enough."""
    return [record for record in data.read(corpus, "test") if len(record.text) <= MAX_CHARS][:ASKED]

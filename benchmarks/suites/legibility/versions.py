"""What is compared: the default space, and its names as an index of a corpus shows them.

An index learns what features mean from its own records: here from records of the corpus that no question is
asked about, the others of the `test` part and those of the `choose` part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks import data, mixture
from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE
from saeindex.features.names_here import CodedSample, names_here, with_names_here

if TYPE_CHECKING:
    from benchmarks.corpora import CachedEncoder
    from saeindex.types import Record

GENERAL = (
    "wikisplit", "topical_chat", "sgd", "nq_open", "gsm8k", "goemotions", "clinc150", "sentence_polarity",
    "medquad", "scicite", "stackoverflow_titles", "subjectivity", "tweeteval_stance",
)  # fmt: skip
GROUPS = {"general": GENERAL, "kept_out": mixture.KEPT_OUT}
VERSIONS = ("v2", "here")
# Texts of a corpus that are asked about, the longest that is read; and those that names are learned from.
ASKED, MAX_CHARS, LEARNED = 500, 600, 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A space, and what its features mean in the corpora, where this is shown."""

    name: str
    space: FeatureSpace
    own: Mapping[str, FeatureSpace] = field(default_factory=dict)

    def of(self, corpus: str) -> FeatureSpace:
        """Return the space with the names that are shown in a corpus."""
        return self.own.get(corpus, self.space)

    def name_of(self, corpus: str, feature: int) -> str:
        """Return the name of a feature as it is shown in a corpus."""
        return self.of(corpus).labels[feature].name


def versions(encoder: CachedEncoder, corpora: Sequence[str]) -> list[Version]:
    """Return what is compared, with the names in these corpora."""
    space = FeatureSpace.load(DEFAULT_SPACE)
    own = {corpus: learned(space, corpus, encoder) for corpus in corpora}
    return [Version(name, space, own if name == "here" else {}) for name in VERSIONS]


def asked(corpus: str) -> list[Record]:
    """Return the records of the `test` part that may be asked about: the first that are short enough."""
    return [record for record in data.read(corpus, "test") if len(record.text) <= MAX_CHARS][:ASKED]


def learned(space: FeatureSpace, corpus: str, encoder: CachedEncoder) -> FeatureSpace:
    """Return the space with names that are learned from a corpus."""
    known = {record.id for record in asked(corpus)}
    rest = [record for part in ("test", "choose") for record in data.read(corpus, part)]
    records = [record for record in rest if record.id not in known][:LEARNED]
    texts = [record.text for record in records]
    vectors = encoder.encode_document(texts)
    sample = CodedSample([record.id for record in records], texts, vectors, space.encode(vectors))
    return with_names_here(space, names_here(space, sample, encoder.encode_query))

"""Questions on findings: does the example that a diff shows of a finding say what the finding's name says?

A class of a corpus is compared with the rest, as in the suite `diff`, and its first findings are asked about
as they are shown: the name, and the first example. Some are asked with the example of another finding, so
that a reader who says yes to everything shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2s
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, mixture
from benchmarks.data import has_value, properties
from benchmarks.snapshots import labelled
from benchmarks.suites.diff.calibration import pair
from benchmarks.suites.diff.real import MIN_RECORDS
from saeindex.analysis.diff.diff import diff
from saeindex.analysis.stats.options import DiffOptions

if TYPE_CHECKING:
    from benchmarks.suites.legibility.versions import Version
    from saeindex import FeatureSpace
    from saeindex.analysis.diff.results import Finding

CORPORA = {
    "general": (
        "goemotions", "medquad", "nlupp", "clinc150", "stackoverflow_titles", "sentence_polarity",
        "tweeteval_stance", "scicite", "masc_registers", "subjectivity",
    ),
    "kept_out": mixture.KEPT_OUT,
}  # fmt: skip
# Classes that are compared, of each corpus and in each group of corpora; findings of a class.
PER_CORPUS, COMPARED, FIRST = 4, 10, 10
# One finding of so many is asked about with the example of another one, too.
DECOYS = 4


@dataclass(frozen=True, slots=True)
class Claim:
    """A finding, by version, group, corpus and class, and the record that is shown as its example.

    A decoy has the example of another finding. ``name`` is the digest of the finding's name.
    """

    space: str
    group: str
    corpus: str
    value: str
    feature: int
    record: str
    is_decoy: bool
    name: str = ""


def claims(version: Version, group: str) -> Iterator[tuple[Claim, str, str]]:
    """Yield the claims of one version, each with the finding's name and the example's text."""
    rng = np.random.default_rng(len(group))
    found = [one for corpus in CORPORA[group] for one in _of_corpus(version.space, corpus, rng)]
    classes = [found[i] for i in sorted(rng.permutation(len(found))[:COMPARED].tolist())]
    for corpus, value, findings in classes:
        shown = [(one, one.examples[one.group][0]) for one in findings[:FIRST]]
        for place, (one, example) in enumerate(shown):
            feature = int(one.key)
            name = version.name_of(feature)
            about = (version.name, group, corpus, value, feature)
            yield Claim(*about, example.id, False, digest(name)), name, example.text
            if len(shown) > 1 and rng.integers(DECOYS) == 0:
                _, other = shown[place - 1]
                yield Claim(*about, other.id, True, digest(name)), name, other.text


def digest(name: str) -> str:
    """Return what a name is known by in the key of a quiz."""
    return blake2s(name.encode(), digest_size=4).hexdigest()


def _of_corpus(
    space: FeatureSpace, corpus: str, rng: np.random.Generator
) -> Iterator[tuple[str, str, list[Finding]]]:
    """Yield classes of a corpus with their findings, in a random order."""
    snapshot = labelled(corpus, space=space)
    records = {record.id: record.metadata for record in data.read(corpus, "test")}
    queries, taken = properties()[corpus], 0
    for i in rng.permutation(len(queries)).tolist():
        has = np.array(
            [has_value(records[one], queries[i]["field"], queries[i]["value"]) for one in snapshot.ids]
        )
        if min(has.sum(), (~has).sum()) < MIN_RECORDS or taken == PER_CORPUS:
            continue
        groups = pair(np.flatnonzero(has), np.flatnonzero(~has))
        options = DiffOptions(families=("concepts",), confirm=False, examples=1)
        found = diff(snapshot, groups, options).findings["concepts"]
        own = [one for one in found if one.group == "a" and one.examples]
        if own:
            taken += 1
            yield corpus, str(queries[i]["value"]), own

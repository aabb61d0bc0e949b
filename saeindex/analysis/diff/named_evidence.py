"""Named properties as evidence: the records that have one, or are among those most like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.stats.evidence import Evidence
from saeindex.concepts.named_concept import ConceptReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.analysis.stats.groups import Groups
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.protocols import TextEncoder

# Of the records that are compared, how many are taken to have a property whose share nobody knows: a rare
# property that one group has shows in the tail of the scores long before it moves their mean.
TAIL = 0.05


def named_evidence(
    snapshot: Snapshot, rows: NDArray[np.int64], concepts: Sequence[NamedConcept], encoder: TextEncoder | None
) -> Evidence:
    """Return which records have each named concept: exactly, or the part of them that is most like it."""
    from scipy.sparse import csr_matrix

    reader = ConceptReader(snapshot, encoder)
    columns = [_having(reader, concept, rows) for concept in concepts]
    names = tuple(concept.name for concept in concepts)
    has = csr_matrix(np.stack(columns, axis=1).astype(np.float32))
    return Evidence("named", names, names, has)


def without_examples(groups: Groups, snapshot: Snapshot, concepts: Sequence[NamedConcept]) -> Groups:
    """Return groups without the records that were given as examples, which are like themselves."""
    given = [one for concept in concepts for one in (*concept.like, *concept.unlike)]
    if not given:
        return groups
    shown = snapshot.rows_of(given)
    kept = tuple(rows[~np.isin(rows, shown)] for rows in groups.rows)
    note = f"{len(set(given)):,} records are examples of what is asked about, and count in no group"
    return replace(groups, rows=kept, notes=(*groups.notes, note))


def _having(reader: ConceptReader, concept: NamedConcept, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    if concept.metadata is not None or concept.features:
        exact: NDArray[np.bool_] = reader.membership(concept).weights[rows] > 0
        return exact
    scores = reader.scores(concept)[rows]
    count = max(1, round((concept.share or TAIL) * len(rows)))
    among: NDArray[np.bool_] = scores >= np.partition(scores, len(scores) - count)[len(scores) - count]
    return among

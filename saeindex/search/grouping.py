"""Rankings of points: diverse ones, and hits in groups that share a value of a field, as Qdrant groups them.

Diverse are those of maximal marginal relevance in feature space (Carbonell & Goldstein 1998, SIGIR).
Greedily, the next record i is the one with the largest

    (1 - diversity) * relevance(i)  -  diversity * max_{j chosen} similarity(i, j)

Relevance is the score, scaled to 0 to 1 over the candidates. Similarity is the cosine of sparse codes, with
each activation as a fraction of its feature's p90 and at most 1.5, so that two records are similar if they
have the same concepts, even if one concept is much stronger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from saeindex.config import DOCUMENT, MAX_LIMIT, SAE, TEXT
from saeindex.errors import InvalidInputError
from saeindex.indexing.points import codes_of
from saeindex.language.evaluate import found_at
from saeindex.language.fields import METADATA, RECORD_ID, as_one_name, path_of
from saeindex.protocols import Point, VectorStore
from saeindex.stores.tracing import noted
from saeindex.types import JsonObject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features import Calibration

GroupValue: TypeAlias = str | int | float | bool
Members: TypeAlias = list[tuple[GroupValue, list["Ranked"]]]
# A point and its rank (from 1) before it was reordered.
Ranked = tuple[int, Point]
# Returns so many points of a ranking, or all if there are fewer; asked for more, the first stay the same.
First: TypeAlias = Callable[[int], list[Ranked]]
# What a record is as a whole: a piece of a document, and a text, of which others may be equal.
WHOLE = (DOCUMENT, TEXT)


def check_field(field: str) -> None:
    """Raise InvalidInputError unless hits can be grouped by ``field``."""
    parts = as_one_name(field) if isinstance(field, str) else ()
    if field not in WHOLE and (len(parts) < 2 or parts[0] != METADATA):
        raise InvalidInputError(
            f"group_by={field!r}",
            "not a field to group by",
            'Use "document", "text" or a field like "metadata.topic".',
        )


def group_keys(field: str) -> list[str]:
    """Return the payload fields that hold a field's values: a record of no document is one by itself."""
    return [DOCUMENT, RECORD_ID] if field == DOCUMENT else [field.partition(".")[0]]


def grouped(first: First, field: str, size: int, limit: int, offset: int) -> Members:
    """Return ``limit`` groups from ``offset`` on, the best first, each with its best ``size`` members.

    A record with several values in the field is in several groups; a record without the field is in none.
    Members are searched among the first 10,000 of the ranking, on every page.
    """
    wanted = offset + limit
    reach = 4 * wanted * size
    while True:
        reach = min(reach, MAX_LIMIT)
        found = first(reach)
        groups: dict[tuple[type, GroupValue], list[Ranked]] = {}
        for ranked in found:
            for value in values_at(ranked[1].payload, field):
                groups.setdefault((type(value), value), []).append(ranked)
        members = list(groups.items())[:wanted]
        is_full = len(members) == wanted and all(len(group) >= size for _, group in members)
        if is_full or len(found) < reach or reach == MAX_LIMIT:
            return [(value, group[:size]) for (_, value), group in members[offset:]]
        reach *= 4


def values_at(payload: JsonObject, field: str) -> list[GroupValue]:
    """Return the distinct scalar values of a field, in order."""
    if field == DOCUMENT:
        return [payload.get(DOCUMENT, payload[RECORD_ID])]
    if field == TEXT:
        return [" ".join(payload[TEXT].split())]
    found = found_at(payload, path_of(field))
    if found is None:
        found = found_at(payload, as_one_name(field))
    values = found if isinstance(found, list) else [found]
    return list({(type(v), v): v for v in values if isinstance(v, str | int | float)}.values())


# The number of records that are reordered; the others keep their rank.
DIVERSITY_POOL = 500


def diverse(first: First, store: VectorStore, calibration: Calibration, diversity: float) -> First:
    """Return a ranking whose first 500 are in the order of maximal marginal relevance.

    ``calibration`` is that of the store's codes, ``diversity`` is from 0 to 1.
    """

    @cache
    def head() -> list[Ranked]:
        found = first(DIVERSITY_POOL)
        points = [point for _, point in found]
        codes = {p.id: p for p in store.get([p.id for p in points], False, [SAE])}
        similarity = code_similarity([codes.get(point.id, point) for point in points], calibration)
        scores = np.array([point.score or 0.0 for point in points])
        order = noted("diversify", lambda: greedy_order(scores, similarity, diversity), asked=len(found))
        return [found[row] for row in order]

    def reordered(count: int) -> list[Ranked]:
        own = head()
        return own[:count] if count <= len(own) else own + first(count)[len(own) :]

    return reordered


def code_similarity(points: Sequence[Point], calibration: Calibration) -> NDArray[np.float64]:
    """Return the cosines (m, m) of the points' codes, activations as fractions of p90, at most 1.5."""
    from scipy.sparse import csr_matrix

    codes = codes_of(points, len(calibration.p90))
    capped = calibration.loudness(codes.indices, codes.values).astype(np.float64)
    rows = csr_matrix((capped, codes.indices, codes.indptr), shape=(len(codes), codes.n_features))
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    products: NDArray[np.float64] = (rows @ rows.T).toarray()
    return products / np.maximum(np.outer(lengths, lengths), 1e-12)


def greedy_order(scores: NDArray[np.float64], similarity: NDArray[np.float64], diversity: float) -> list[int]:
    """Return all rows in the order of maximal marginal relevance; equal rows keep their order."""
    spread = float(np.ptp(scores)) if len(scores) else 0.0
    relevance = (scores - scores.min()) / spread if spread > 0 else np.zeros(len(scores))
    nearest = np.zeros(len(scores))
    is_left = np.ones(len(scores), bool)
    order: list[int] = []
    for _ in range(len(scores)):
        gain = np.where(is_left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        row = int(np.argmax(gain))
        order.append(row)
        is_left[row] = False
        nearest = np.maximum(nearest, similarity[row])
    return order

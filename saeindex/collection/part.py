"""A part of an index as an index of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError
from saeindex.indexing.create_open import IndexParts
from saeindex.indexing.manifest import Counts
from saeindex.indexing.names import NameEdits, is_to_learn, learned, read_sample
from saeindex.stores.selected import SelectedStore

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.features import FeatureSpace
    from saeindex.indexing.manifest import Manifest
    from saeindex.protocols import TextEncoder, VectorStore


def part_of(
    store: VectorStore,
    space: FeatureSpace,
    manifest: Manifest,
    selected: Filter | None,
    encoder: Callable[[], TextEncoder],
) -> IndexParts:
    """Return the parts of an index that has only the ``selected`` points.

    What features mean is learned from these points. Names, profiles and files of the whole stay there: they
    may tell of other records.
    """
    if selected is None:
        raise InvalidInputError("a part of an index", "no condition", "Give where or query_filter.")
    view = SelectedStore(store, selected)
    records = view.count()
    names = None
    if is_to_learn(None, records, 0):
        names = learned(read_sample(view, space.n_features), records, space, encoder)
    own = manifest.model_copy(
        update={"counts": Counts(records=records), "names": names, "edits": NameEdits(), "profiles": {}}
    )
    return IndexParts(SelectedStore(store, selected, own.to_json()), space, own, None)

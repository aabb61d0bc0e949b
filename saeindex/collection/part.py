"""A part of an index as an index of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeindex.errors import InvalidInputError
from saeindex.indexing.create_open import IndexParts
from saeindex.indexing.manifest import Counts
from saeindex.indexing.names import NameEdits
from saeindex.indexing.terms import features_in
from saeindex.stores.selected import SelectedStore

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.features import FeatureSpace
    from saeindex.indexing.manifest import Manifest
    from saeindex.protocols import VectorStore


def part_of(
    store: VectorStore,
    space: FeatureSpace,
    manifest: Manifest,
    selected: Filter | None,
) -> IndexParts:
    """Return the parts of an index that has only the ``selected`` points.

    Of the terms of the collection it has those that its records use; others have no name there. Names,
    profiles and files of the whole stay there: they may tell of other records.
    """
    if selected is None:
        raise InvalidInputError("a part of an index", "no condition", "Give where or query_filter.")
    view = SelectedStore(store, selected)
    records = view.count()
    used = features_in(view, manifest.fields) if manifest.terms else set()
    terms = tuple(
        term if space.n_features + number in used else term.unnamed()
        for number, term in enumerate(manifest.terms)
    )
    own = manifest.model_copy(
        update={"counts": Counts(records=records), "terms": terms, "edits": NameEdits(), "profiles": {}}
    )
    return IndexParts(SelectedStore(store, selected, own.to_json()), space, own, None)

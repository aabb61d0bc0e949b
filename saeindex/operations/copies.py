"""Copies of indexes, with what a person made in them: for another encoder profiles are fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeindex.collection.state import IndexState, QueryVectors
from saeindex.encoders.cost import Cost, cost_of
from saeindex.errors import NotFoundError
from saeindex.indexing.copy import CopyReport, CopyTarget, copy_parts, read_parts, space_of_copy
from saeindex.indexing.create_open import Place
from saeindex.indexing.points import stored_record
from saeindex.indexing.sentences import is_all, sentences_in, spans_in
from saeindex.language.speech import masked, readable
from saeindex.steering.saved_profile import fit_profile
from saeindex.stores.base import first_points

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from saeindex.config import SentenceStorage
    from saeindex.features import FeatureSpace
    from saeindex.features.reader_space import ReaderSpace
    from saeindex.indexing.create_open import IndexParts
    from saeindex.protocols import TextEncoder

# Records whose texts tell how many there are, and a page of them.
SAMPLED, PAGE = 2_000, 500


def copy_index(
    source: str | Path,
    target: str | Path,
    space: FeatureSpace | str | Path | None = None,
    *,
    source_client: QdrantClient | None = None,
    source_url: str | None = None,
    client: QdrantClient | None = None,
    url: str | None = None,
    encoder: TextEncoder | None = None,
    calibrate: bool = False,
    sentences: SentenceStorage | None = None,
    words: str | None = None,
    reader: ReaderSpace | str | Path | None = None,
    progress: bool = False,
) -> CopyReport:
    """Make a new index of the records of another one, whose manifest may be lost.

    Each is a directory, or a collection if a client or a url is given. ``space`` is another feature space: of
    the same encoder, codes are made from the stored vectors; of another one (given as ``encoder``, else
    opened by the space), the texts are encoded again, see :func:`copy_cost`. For an ``encoder`` alone the
    latest space is taken that was made for it (:meth:`FeatureSpace.make`). Own concepts are defined again
    then, and profiles fitted again on the records that they were fitted on. ``calibrate`` measures the
    levels (typical, strong) on these records. ``sentences`` and ``words`` say what the copy keeps of them, as
    in :meth:`FeatureIndex.create`: by default what the source does, or, if that is nothing, what a new index
    does; what is lacking is encoded. So is the reader that of the source, unless the encoder is another one;
    for another ``reader`` the texts are encoded again.
    An interrupted copy is continued by the same call. To switch over, rename the directory, or point the
    collection's alias at the copy.

    Raises:
        NotFoundError: there is no index at ``source``.
        MismatchError: there is another index at ``target``.
        StorageError: the copy is not what was read.
    """
    place = Place(source, source_client, source_url)
    with place.opened() as store:
        parts, has_manifest = read_parts(str(source), store, place.folder, space)
        there = Place(target, client, url)
        made = CopyTarget(there, space, encoder, calibrate, sentences, words, progress, fitted_again, reader)
        return copy_parts(str(source), parts, made, has_manifest)


def copy_cost(
    source: str | Path,
    space: FeatureSpace | str | Path | None = None,
    *,
    source_client: QdrantClient | None = None,
    source_url: str | None = None,
    encoder: TextEncoder | None = None,
    sentences: SentenceStorage | None = None,
    reader: ReaderSpace | str | Path | None = None,
) -> Cost:
    """Return what a copy that encodes the texts again costs, by some of them; nothing if none does.

    The arguments are those of :func:`copy_index`.
    """
    place = Place(source, source_client, source_url)
    with place.opened() as store:
        parts, _ = read_parts(str(source), store, place.folder, space)
        new = space_of_copy(parts.space, space, encoder)
        is_encoded = bool(parts.space.encoder.differences(new.encoder))
        if not is_encoded and reader is None:
            return Cost(0, 0, 0.0)
        points = first_points(store, SAMPLED, PAGE)
        records = [stored_record(one.payload, parts.manifest.fields) for one in points]
        whole = [text for one in records for text in (one.text, *one.fields.values())]
        texts = [readable(text) for text in whole]
        if is_encoded and sentences != "off":
            spans = [spans_in(text) for text in whole]
            several = [
                (text, own) for text, own in zip(whole, spans, strict=True) if not is_all(masked(text), own)
            ]
            texts += [sentence for text, own in several for sentence in sentences_in(text, own)]
        number = round(len(texts) * store.count() / max(1, len(points)))
        return cost_of(texts, encoder or new.open_encoder(), number)


def fitted_again(parts: IndexParts, encoder: TextEncoder, profiles: Mapping[str, Any]) -> dict[str, Any]:
    """Return profiles as they are fitted on the records of a copy, but those whose records are gone."""
    space, queries = parts.manifest.with_own_names(parts.space), QueryVectors(encoder.encode_query)
    state = IndexState(parts.store, parts.manifest, space, queries, lambda: encoder, parts.folder)
    found = dict[str, Any]()
    for name, kept in profiles.items():
        with suppress(NotFoundError):
            made = fit_profile(state, name, kept["like"], kept["unlike"], kept["description"])
            edits = {int(feature): weight for feature, weight in kept["edits"].items()}
            found[name] = made.edited(edits).model_dump(mode="json")
    return found

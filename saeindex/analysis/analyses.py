"""What can be computed over an index: the statistical part of :class:`saeindex.index.FeatureIndex`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from saeindex.analysis.correlate.cooccurrence import companions
from saeindex.analysis.diff.diff import counted_diff, diff, is_countable
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.diff.two_indexes import joined
from saeindex.analysis.stats.groups import Groups, Selection, Selector, disjoint
from saeindex.collection.facet_counts import EngineCounts
from saeindex.collection.records import record_ids
from saeindex.collection.snapshot_files import content_fingerprint, take_snapshot
from saeindex.concepts.named_concept import parse_concept
from saeindex.config import CACHE_FOLDER
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.analysis.correlate.cooccurrence import Companion
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.analysis.diff.results import Diff
    from saeindex.collection.snapshot import Snapshot
    from saeindex.concepts.named_concept import NamedConcept
    from saeindex.features import FeatureSpace
    from saeindex.indexing.manifest import Manifest
    from saeindex.protocols import TextEncoder, VectorStore
    from saeindex.search.planner import Planner
    from saeindex.types import LevelName

Options = TypeVar("Options")


class Analysing:
    """Differences, correlations, clusters and drift of an index's records."""

    store: VectorStore
    space: FeatureSpace
    manifest: Manifest
    planner: Planner
    folder: Path | None
    _has_passages: bool
    _snapshots: dict[str, tuple[str, Snapshot]]

    if TYPE_CHECKING:

        @property
        def encoder(self) -> TextEncoder:
            """Return the space's encoder."""

        def _kept_manifest(self) -> Manifest: ...

        def _compile(self, where: str | None, query_filter: Filter | None) -> Filter | None: ...

    def snapshot(self, field: str = "") -> Snapshot:
        """Return the records as columns, seen through a text field; read once, and again after a write."""
        if field and field not in self.manifest.fields:
            fields = ", ".join(self.manifest.fields) or "none beside the text"
            do = "Use one of them, or leave it out."
            raise InvalidInputError(f"the text field {field!r}", f"the index has {fields}", do)
        revision = self._kept_manifest().revision
        fingerprint = content_fingerprint(self.store, self.space, revision)
        known = self._snapshots.get(field)
        if known is None or known[0] != fingerprint:
            cache = None if self.folder is None else self.folder / CACHE_FOLDER
            taken = take_snapshot(self.store, self.space, revision, cache, field)
            if not len(taken):
                raise InvalidInputError("an analysis", "the index is empty", "Add records first.")
            known = self._snapshots[field] = fingerprint, taken
        return known[1]

    def diff(
        self,
        /,
        a: Selection | None = None,
        b: Selection | None = None,
        *,
        groups: Mapping[str, Selection] | None = None,
        by: str | None = None,
        other: Analysing | None = None,
        named: Sequence[NamedConcept | str] = (),
        writer: HypothesisWriter | None = None,
        field: str = "",
        **options: Any,
    ) -> Diff:
        """Return what differs between groups of records, tested; see :class:`DiffOptions` for the options.

        Groups are where texts, Qdrant filters or lists of record ids: ``a`` and ``b`` (the others, where it
        is left out), or ``groups`` by name, or one for each value of the field ``by``, or all of this index
        against all of the index ``other``. ``named`` are properties to ask about: :class:`NamedConcept`, or
        texts such as ``"sad=feeling sad; against: being happy"``. ``writer`` has a language model write
        hypotheses from the findings, and check them on further records.

        ``index.diff(a="metadata.year < 2010", b="metadata.year >= 2010", unit="metadata.author")``
        """
        asked = options_of(DiffOptions, options, "diff")
        wanted = [parse_concept(one) if isinstance(one, str) else one for one in named]
        encoder = self.encoder if any(one.description for one in wanted) else None
        if other is not None:
            both, chosen = joined(self.snapshot(field), other.snapshot(field))
            return diff(both, chosen, asked, wanted, encoder, writer)
        if by is None and not wanted and writer is None and is_countable(asked, self._has_passages):
            conditions = self._conditions(a, b, groups)
            if conditions is not None:
                return counted_diff(self._counts(field), self.space, conditions, asked)
        snapshot = self.snapshot(field)
        return diff(snapshot, self._groups(snapshot, a, b, groups, by), asked, wanted, encoder, writer)

    def companions(
        self,
        feature: int,
        *,
        where: str | None = None,
        level: LevelName = "typical",
        field: str = "",
        alpha: float = 0.05,
        limit: int = 20,
    ) -> Sequence[Companion]:
        """Return the features that occur with one more than by chance, counted inside the engine."""
        self.space.label(feature)
        condition = self._compile(where, None)
        engine = self._counts(field)
        own = engine.cooccurrence(feature, level, condition)
        return companions(self.space, feature, own, engine.frequencies(condition, level), alpha, limit)

    def _counts(self, field: str) -> EngineCounts:
        return EngineCounts(self.store, self.space.n_features, field)

    def _conditions(
        self, a: Selection | None, b: Selection | None, groups: Mapping[str, Selection] | None
    ) -> dict[str, Filter] | None:
        """Return the groups as native filters; None where one is a list of ids, or was not given."""
        from qdrant_client.models import Filter

        given = groups if groups is not None else {"a": a} if b is None else {"a": a, "b": b}
        found: dict[str, Filter] = {}
        for name, one in given.items():
            if not isinstance(one, str | Filter):
                return None
            condition = one if isinstance(one, Filter) else self._compile(one, None)
            found[name] = condition or Filter()
        if groups is None and b is None:
            found["b"] = Filter(must_not=[found["a"]])
        return found

    def _groups(
        self,
        snapshot: Snapshot,
        a: Selection | None,
        b: Selection | None,
        groups: Mapping[str, Selection] | None,
        by: str | None,
    ) -> Groups:
        if sum(given is not None for given in (a, groups, by)) != 1 or (b is not None and a is None):
            raise InvalidInputError(
                "groups to compare",
                "none, or several ways at once",
                "Give a and b, or groups, or by a field.",
            )
        select = self._selector(snapshot)
        if by is not None:
            return select.by_value(by)
        if groups is not None:
            return disjoint({name: select(one) for name, one in groups.items()})
        first = select(a)
        return disjoint({"a": first, "b": select.others(first) if b is None else select(b)})

    def _selector(self, snapshot: Snapshot) -> Selector:
        def filtered(condition: Filter) -> list[str]:
            return sorted(record_ids(self.store, condition))

        return Selector(snapshot, self.planner.features_of({}), filtered)


def options_of(kind: type[Options], given: Mapping[str, Any], what: str) -> Options:
    """Return options by name; InvalidInputError for one that there is not."""
    try:
        return kind(**given)
    except TypeError as error:
        raise InvalidInputError(what, str(error), f"Use the fields of {kind.__name__}.") from error

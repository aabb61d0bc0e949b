"""What analyses have in common: the records that they read, selections of them, and when others may write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from saeindex.operations.operation import Operation
from saeindex.operations.search import searcher_of
from saeindex.schema import ANY_OBJECT, ANY_TEXT, dumped, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qdrant_client.models import Filter

    from saeindex.analysis.stats import groups
    from saeindex.analysis.stats.groups import Selector
    from saeindex.collection.records import EngineCounts
    from saeindex.collection.snapshot import Snapshot
    from saeindex.collection.state import IndexState

    Selection: TypeAlias = groups.Selection
else:

    def selection_of(given: Any) -> Any:
        """Return a selection of records as it is used: a text, an expression, a filter, or ids."""
        from saeindex.stores.filters import as_filter

        if isinstance(given, str) or hasattr(given, "kind"):
            return given
        if isinstance(given, Mapping) and "kind" in given:
            from saeindex.language.parser import parse_where

            return parse_where(given)
        return as_filter(given) if isinstance(given, Mapping) or hasattr(given, "must") else listed(given)

    SELECTED = WithJsonSchema({"anyOf": [ANY_TEXT, ANY_OBJECT, {"type": "array", "items": ANY_TEXT}]})
    Selection = Annotated[Any, PlainValidator(selection_of), PlainSerializer(dumped), SELECTED]

R_co = TypeVar("R_co", covariant=True)
FIELD = "a further text field, in place of the text"
RECORDS = "the records: a condition, a filter of Qdrant, or a list of ids"


class Analysis(Operation[R_co]):
    """An operation over all records, which may take longer than a request should."""

    is_analysis, scope = True, "analyse"

    def analyse(self, records: Reading) -> R_co:
        """Return the result."""
        raise NotImplementedError


class Reading:
    """The records of one state while an analysis reads them; others write when :meth:`end` is called."""

    def __init__(
        self, state: IndexState, end: Callable[[], object] = lambda: None, other: Reading | None = None
    ) -> None:
        """``other`` is the index that this one is compared with."""
        self.state, self.end, self.other = state, end, other

    def snapshot(self, field: str = "", unnamed: bool = False) -> Snapshot:
        """Return the records as columns for one text field; ``unnamed`` features are listed if asked."""
        found = self.state.snapshot(field)
        return replace(found, lists_unnamed=True) if unnamed else found

    def counts(self, field: str) -> EngineCounts:
        """Return what counts the concepts of one text field in the engine."""
        from saeindex.collection.records import EngineCounts

        self.state.check_field(field)
        return EngineCounts(self.state.store, self.state.space.n_features, field)

    def selector(self, snapshot: Snapshot) -> Selector:
        """Return the selector, which finds the rows of a selection in a snapshot."""
        from saeindex.analysis.stats.groups import Selector
        from saeindex.collection.records import record_ids

        planner = searcher_of(self.state).planner

        def filtered(condition: Filter) -> list[str]:
            planner.checks.warn(None, condition)
            return sorted(record_ids(self.state.store, condition))

        return Selector(snapshot, planner.features_of({}), filtered)

    def rows(self, snapshot: Snapshot, where: Any) -> NDArray[Any] | None:
        """Return the rows of a selection; None for all."""
        return None if where is None else self.selector(snapshot)(where)

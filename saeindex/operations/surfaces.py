"""What every surface has: the methods of an index, of its concepts and profiles, each one operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from saeindex.operations import concepts
from saeindex.operations.associations import ClusterAlong, Companions, Correlate, FindTriggers
from saeindex.operations.differences import CountBaseline, Describe, DiffGroups, DriftOver, Monitor
from saeindex.operations.evaluation import Evaluate
from saeindex.operations.operation import AsyncPerforms, Method, Operation, Performs, QueryMethod
from saeindex.operations.records import (
    Count,
    CountValues,
    Delete,
    Get,
    MetadataFields,
    Sample,
    Scroll,
    Update,
)
from saeindex.operations.search import Compare, Exclusions, Facets, FindContext, PlanQuery, Search, SearchMany

if TYPE_CHECKING:
    from saeindex.collection.stored import StoredRecord

P = ParamSpec("P")
R = TypeVar("R")
Twin = TypeVar("Twin")


class IndexMethods:
    """Methods of an index."""

    search = QueryMethod(Search)
    search_many = Method(SearchMany)
    plan = QueryMethod(PlanQuery)
    context = QueryMethod(FindContext)
    compare = QueryMethod(Compare)
    get = Method(Get)
    scroll = Method(Scroll)
    sample = Method(Sample)
    count = Method(Count)
    update = Method(Update)
    delete = Method(Delete)
    metadata_fields = Method(MetadataFields)
    facets = Method(CountValues)
    diff = Method(DiffGroups)
    describe = Method(Describe)
    correlate = Method(Correlate)
    triggers = Method(FindTriggers)
    cluster = Method(ClusterAlong)
    drift = Method(DriftOver)
    monitor = Method(Monitor)
    baseline = Method(CountBaseline)
    evaluate = Method(Evaluate)


class ConceptMethods:
    """Methods of ``index.concepts``."""

    find = Method(concepts.Find)
    resolve = Method(concepts.ResolveConcept)
    card = Method(concepts.Card)
    facets = QueryMethod(Facets)
    exclusions = QueryMethod(Exclusions)
    companions = Method(Companions)
    define = Method(concepts.Define)
    rename = Method(concepts.Rename)
    hide = Method(concepts.Hide)
    history = Method(concepts.History)
    names = Method(concepts.Names)
    take_names = Method(concepts.TakeNames)
    learn = Method(concepts.Learn)


class ProfileMethods:
    """Methods of ``index.profiles``."""

    fit = Method(concepts.FitProfile)
    names = Method(concepts.ProfileNames)
    get = Method(concepts.GetProfile)
    save = Method(concepts.SaveProfile)
    edit = Method(concepts.EditProfile)
    delete = Method(concepts.DeleteProfile)


METHODS = (IndexMethods, ConceptMethods, ProfileMethods)
# Every operation by its name.
OPERATIONS: dict[str, Any] = {
    one.request.name: one.request  # type: ignore[attr-defined]
    for methods in METHODS
    for one in vars(methods).values()
    if isinstance(one, Method)
}


def awaited(
    method: Callable[Concatenate[Twin, P], R], twin: str = "index"
) -> Callable[Concatenate[Any, P], Awaitable[R]]:
    """Return an async method that runs ``method`` of the object in the attribute ``twin`` on a thread.

    The async object has a ``run`` for that.
    """

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **options: P.kwargs) -> R:
        found: R = await self.run(partial(method, getattr(self, twin), *args, **options))
        return found

    return call


class _Part:
    """Some methods of an index, which performs them."""

    def __init__(self, index: Performs | AsyncPerforms) -> None:
        self._index = index

    def perform(self, operation: Operation[Any]) -> Any:
        return self._index.perform(operation)


class Concepts(ConceptMethods, _Part, Performs):
    """The concepts of an index: find, describe, rename and hide them."""

    def export(self, path: str | Path) -> None:
        """Write your own names and the hidden features to a JSON file, for :meth:`import_names`."""
        self.names().save(path)

    def import_names(self, path: str | Path) -> int:
        """Take over the names and hidden features in a file; return the number of features.

        MismatchError if the file is of an index with another feature space.
        """
        from saeindex.indexing.names import names_in

        return self.take_names(names_in(path))


class Profiles(ProfileMethods, _Part, Performs):
    """The steering profiles that are saved with an index."""


class Surface(IndexMethods, Performs):
    """An index as programs use it, wherever it is."""

    @property
    def concepts(self) -> Concepts:
        """The concepts: find, describe, rename and hide them."""
        return Concepts(self)

    @property
    def profiles(self) -> Profiles:
        """The saved steering profiles."""
        return Profiles(self)

    def __iter__(self) -> Iterator[StoredRecord]:
        """Yield all records, read page by page; those that are written meanwhile may be missed."""
        return every(self, limit=1_000)


def every(index: Surface, **asked: Any) -> Iterator[StoredRecord]:
    """Yield all records, or those that a ``scroll`` with these options finds, read page by page."""
    offset: str | None = None
    while True:
        page, offset = index.scroll(offset=offset, **asked)
        yield from page
        if offset is None:
            return


class AsyncConcepts(ConceptMethods, _Part, AsyncPerforms):
    """The concepts of an index, awaited."""

    async def export(self, path: str | Path) -> None:
        """Write your own names and the hidden features to a JSON file, for :meth:`import_names`."""
        (await self.names()).save(path)

    async def import_names(self, path: str | Path) -> int:
        """Take over the names and hidden features in a file; return the number of features.

        MismatchError if the file is of an index with another feature space.
        """
        from saeindex.indexing.names import names_in

        return await self.take_names(names_in(path))


class AsyncProfiles(ProfileMethods, _Part, AsyncPerforms):
    """The steering profiles that are saved with an index, awaited."""


class AsyncSurface(IndexMethods, AsyncPerforms):
    """An index as programs with an event loop use it, wherever it is."""

    @property
    def concepts(self) -> AsyncConcepts:
        """The concepts: find, describe, rename and hide them."""
        return AsyncConcepts(self)

    @property
    def profiles(self) -> AsyncProfiles:
        """The saved steering profiles."""
        return AsyncProfiles(self)

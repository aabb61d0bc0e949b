"""What every surface has: the methods of an index, of its concepts and of its profiles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from saeindex.operations.methods import ConceptMethods, IndexMethods, ProfileMethods
from saeindex.operations.operation import AsyncPerforms, Operation, Performs

P = ParamSpec("P")
R = TypeVar("R")
Twin = TypeVar("Twin")


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


class _Part(Performs):
    """Some methods of an index, which performs them."""

    def __init__(self, index: Performs) -> None:
        self._index = index

    def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation."""
        return self._index.perform(operation)


class _AsyncPart(AsyncPerforms):
    """Some methods of an index, which performs them."""

    def __init__(self, index: AsyncPerforms) -> None:
        self._index = index

    async def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation."""
        return await self._index.perform(operation)


class Concepts(ConceptMethods, _Part):
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


class Profiles(ProfileMethods, _Part):
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


class AsyncConcepts(ConceptMethods, _AsyncPart):
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


class AsyncProfiles(ProfileMethods, _AsyncPart):
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

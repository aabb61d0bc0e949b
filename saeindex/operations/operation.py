"""An operation, and the methods that Python's surfaces make of it.

An operation is a request class with a function: :meth:`Operation.run` over the state of an index. A surface
is whatever performs operations: an index in this process, one of a server, and the async twins of both.
``search = Method(Search)`` is the whole definition of a method on all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from functools import cache, cached_property
from importlib import import_module
from inspect import Parameter, Signature, signature
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from saeindex.schema import adapter
from saeindex.search.query import Query

if TYPE_CHECKING:
    from saeindex.collection.current import CurrentState
    from saeindex.collection.state import IndexState

BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Operation(Generic[R_co]):
    """What can be asked of the records of an index: a request that finds its result in a state.

    ``name`` is its name on every surface: ``search``, ``concepts/find``. ``is_analysis`` is whether it may
    take longer than a request should.
    """

    name: ClassVar[str]
    is_analysis: ClassVar[bool] = False
    scope: ClassVar[Literal["read", "analyse", "write"]] = "read"
    _results: ClassVar[str] = ""

    def __init_subclass__(cls, results: str = "") -> None:
        """``results`` is the module of the result's type, which is imported with the first result."""
        cls._results = results

    def run(self, state: IndexState) -> R_co:
        """Return the result."""
        raise NotImplementedError

    @classmethod
    def result_kind(cls) -> Any:
        """Return the type of the result as it is written: a name that is not read before it is needed."""
        bases = vars(cls)["__orig_bases__"]
        return next(get_args(base)[0] for base in bases if issubclass(get_origin(base) or object, Operation))

    @classmethod
    @cache
    def returns(cls) -> Any:
        """Return the type of the result."""
        named = SimpleNamespace(__annotations__={"return": cls.result_kind()})
        return get_type_hints(named, vars(import_module(cls._results or cls.__module__)))["return"]

    @classmethod
    def result_json(cls, result: Any) -> dict[str, Any]:
        """Return a result as a JSON object; what is none is its ``result``."""
        found = written(result)
        return found if isinstance(found, dict) else {"result": found}

    @classmethod
    def result_of(cls, given: Mapping[str, Any]) -> Any:
        """Return the result that :meth:`result_json` described."""
        kind = cls.returns()
        is_object = hasattr(kind, "from_json") or hasattr(kind, "model_validate") or kind is dict
        return read(kind, given if is_object else given["result"])


def written(value: Any) -> Any:
    """Return a result, a list of them, or what is JSON already, as JSON."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return [written(one) for one in value] if isinstance(value, list | tuple) else value


def read(kind: Any, given: Any) -> Any:
    """Return the value of a type that :func:`written` described."""
    if hasattr(kind, "from_json"):
        return kind.from_json(given)
    if get_origin(kind) is list:
        return [read(get_args(kind)[0], one) for one in given]
    if get_origin(kind) is tuple:
        return tuple(read(each, one) for each, one in zip(get_args(kind), given, strict=True))
    return adapter(kind).validate_python(given)


def _in_json(kind: Any) -> Any:
    """Return the type that documents the JSON of a type."""
    if get_origin(kind) in (list, tuple):
        return get_origin(kind)[tuple(_in_json(one) for one in get_args(kind))]
    return getattr(kind, "json_kind", kind)


def json_schema(kind: Any, reference: str) -> dict[str, Any]:
    """Return the JSON schema of a request, or of a result."""
    is_request = hasattr(kind, "returns")
    mode: Literal["validation", "serialization"] = "validation" if is_request else "serialization"
    found: dict[str, Any] = _bounded(
        adapter(_in_json(kind)).json_schema(by_alias=True, ref_template=reference, mode=mode)
    )
    if is_request or hasattr(kind, "from_json") or hasattr(kind, "model_validate"):
        return kind.of_schema(found) if hasattr(kind, "of_schema") else found
    return {"$defs": found.pop("$defs", {}), "type": "object", "properties": {"result": found},
            "required": ["result"]}  # fmt: skip


def _bounded(schema: Any) -> Any:
    """Return a schema with the bounds that pydantic leaves under its own names, where a value may be null."""
    if isinstance(schema, list):
        return [_bounded(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {BOUNDS.get(name, name): _bounded(one) for name, one in schema.items()}


class Change(Operation[R_co]):
    """An operation that changes an index; it needs the scope ``write``."""

    scope = "write"

    def change(self, current: CurrentState) -> R_co:
        """Change the index, and return what was done."""
        raise NotImplementedError


class Performs:
    """A surface: performs operations, here and now."""

    def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation."""
        raise NotImplementedError


class AsyncPerforms:
    """A surface whose results are awaited."""

    async def perform(self, operation: Operation[R]) -> R:
        """Return the result of an operation."""
        raise NotImplementedError


class Method(Generic[P, R]):
    """A method of all surfaces: it makes a request of its arguments and performs it."""

    def __init__(self, request: Callable[P, Operation[R]]) -> None:
        """``request`` is the class of an operation."""
        self.request = request
        self.__doc__ = request.__doc__

    @overload
    def __get__(self, surface: None, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, surface: Performs, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, surface: AsyncPerforms, owner: type) -> Callable[P, Awaitable[R]]: ...
    def __get__(self, surface: Performs | AsyncPerforms | None, owner: type) -> Any:
        def call(*given: P.args, **options: P.kwargs) -> Any:
            assert surface is not None, "a method of an index, not of its class"  # noqa: S101
            return surface.perform(self._made(*given, **options))

        async def awaited(*given: P.args, **options: P.kwargs) -> Any:
            return await call(*given, **options)

        made: Any = awaited if issubclass(owner, AsyncPerforms) else call
        made.__signature__ = self._signature if surface is not None else self._unbound
        made.__name__, made.__qualname__ = self._name, f"{owner.__name__}.{self._name}"
        made.__doc__ = self.__doc__
        return made

    @cached_property
    def _signature(self) -> Signature:
        kind = self.request.result_kind()  # type: ignore[attr-defined]
        named = getattr(kind, "__forward_arg__", kind)
        return signature(self.request).replace(return_annotation=named)

    @cached_property
    def _unbound(self) -> Signature:
        first = Parameter("self", Parameter.POSITIONAL_ONLY)
        return self._signature.replace(parameters=[first, *self._signature.parameters.values()])

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that a class gives it."""
        self._name = name

    def _made(self, *given: Any, **options: Any) -> Operation[R]:
        return self.request(*given, **options)


class QueryMethod(Method[P, R]):
    """A method that also takes a :class:`Query`, in place of the text, with further options."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, surface: None, owner: type) -> Asked[P, R]: ...
        @overload
        def __get__(self, surface: Performs, owner: type) -> Asked[P, R]: ...
        @overload
        def __get__(self, surface: AsyncPerforms, owner: type) -> Asked[P, Awaitable[R]]: ...
        def __get__(self, surface: Any, owner: type) -> Any: ...

    def _made(self, *given: Any, **options: Any) -> Operation[R]:
        if not given or not isinstance(given[0], Query):
            return super()._made(*given, **options)
        query, *others = given
        named = dict(zip(list(self._signature.parameters)[1:], others, strict=False))
        asked = {one.name: getattr(query, one.name) for one in fields(query)}
        return super()._made(**{**asked, **named, **options})


class Asked(Generic[P, R]):
    """What :class:`QueryMethod` looks like to a type checker."""

    @overload
    def __call__(self, query: Query, /, *others: Any, **options: Any) -> R: ...
    @overload
    def __call__(self, *given: P.args, **options: P.kwargs) -> R: ...
    def __call__(self, *given: Any, **options: Any) -> R:
        """Call the method."""
        raise NotImplementedError

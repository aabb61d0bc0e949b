"""Data classes that are checked where they are made, and that know their JSON.

:func:`request` makes a class of options: names, types, defaults, bounds and descriptions stand once, in its
fields, and Python, JSON, OpenAPI and the command line are read from them. :class:`Result` is the base of what
operations return: it travels as JSON and comes back as the same type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, Signature, signature
from threading import RLock
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, TypeVar, dataclass_transform

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import ArgsKwargs, ErrorDetails, core_schema

from saeindex.errors import InvalidInputError, MismatchError, SaeIndexError, kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

C = TypeVar("C")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}
_BUILDING = RLock()
_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True)
# JSON schemas.
ANY_TEXT: dict[str, Any] = {"type": "string"}
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def _plain(value: Any) -> Any:
    """Return a number of numpy as Python's."""
    return value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value


def listed(value: Any) -> Any:
    """Return a list, a set, a Series or another collection as a tuple; one text is no list."""
    is_many = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return tuple(_plain(one) for one in value) if is_many else value


def _ids(value: Any) -> Any:
    """Return a collection of ids as texts, where they are whole numbers, as a source reads them."""
    many = listed(value)
    if not isinstance(many, tuple):
        return many
    return tuple(str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in many)


# The types of options: True is no number, a text is no list, and a list may be any collection.
Whole: TypeAlias = Annotated[int, Strict(), BeforeValidator(_plain)]
Number: TypeAlias = Annotated[float, Strict(), BeforeValidator(_plain), Field(allow_inf_nan=False)]
Flag: TypeAlias = Annotated[bool, Strict()]
Texts: TypeAlias = Annotated[Sequence[str], BeforeValidator(listed)]
Numbers: TypeAlias = Annotated[Sequence[Number], BeforeValidator(listed)]
Ids: TypeAlias = Annotated[Sequence[str], BeforeValidator(_ids)]


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def request(kind: type[C]) -> type[C]:
    """Make a frozen data class whose values are checked; InvalidInputError says what is wrong with one."""
    made: Any = checked_dataclass(frozen=True, config=_CONFIG)(kind)
    places = [one.name for one in fields(made) if not one.kw_only]

    @wraps(made.__init__)
    def init(self: Any, *given: Any, **named: Any) -> None:
        if len(given) > len(places):
            found = f"{len(given)} values without a name, the last is {given[-1]!r:.80}"
            raise InvalidInputError(_called(type(self)), found, "Give the other options by name.")
        if twice := named.keys() & set(places[: len(given)]):
            raise InvalidInputError(_called(type(self)), f"{min(twice)} twice", "Give it once.")
        options = {**dict(zip(places, given, strict=False)), **named}
        for name, value in options.items():
            check_unicode(name, value)
        try:  # by an adapter: a class that pydantic builds gets pydantic's __init__ back
            adapter(made).validator.validate_python(ArgsKwargs((), options), self_instance=self)
        except ValidationError as error:
            raise invalid(error, type(self)) from None

    made.__init__, made.__signature__ = init, Signature([*_parameters(made)])
    return made  # type: ignore[no-any-return]


def _parameters(kind: Any) -> Iterator[Parameter]:
    """Yield what a request takes: pydantic would say so when it is first made."""
    for one in sorted(fields(kind), key=lambda field: bool(field.kw_only)):
        declared = kind.__pydantic_fields__[one.name]
        if one.init:
            default = Parameter.empty if declared.is_required() else declared.get_default()
            by = Parameter.KEYWORD_ONLY if one.kw_only else Parameter.POSITIONAL_OR_KEYWORD
            yield Parameter(one.name, by, default=default, annotation=one.type)


class OrFirst:
    """An annotation: an object of a request class may also be given, and is written, as its first field.

    So ``steer="+theory:0.5"`` is ``steer=Steering("+theory:0.5")``, in JSON too.
    """

    def __init__(self, *plain: Mapping[str, Any]) -> None:
        """``plain`` are the JSON schemas of the first field."""
        self._plain = plain

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> Any:
        """Return the schema of the class, before which a first field is wrapped."""
        first, *others = kind.__dataclass_fields__

        def read(given: Any) -> Any:
            is_whole = isinstance(given, Mapping) and (first in given or given.keys() <= {*others})
            if is_whole:
                check_options(kind, given, _called(kind))
            return given if isinstance(given, kind) or is_whole else kind(given)

        def written(value: Any, write: Callable[[Any], Any]) -> Any:
            found = write(value)
            is_bare = all(getattr(value, name) == getattr(kind, name, None) for name in others)
            return found[first] if is_bare else found

        wrapped = core_schema.wrap_serializer_function_ser_schema(written)
        return core_schema.no_info_before_validator_function(read, handler(kind), serialization=wrapped)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return that it is either."""
        return {"anyOf": [*map(dict, self._plain), handler(schema["schema"])]}


def _called(kind: type) -> str:
    """Return what a person calls a request: an operation by its name on all surfaces."""
    return str(getattr(kind, "name", kind.__name__.lower()))


def invalid(error: ValidationError, kind: type) -> SaeIndexError:
    """Return the first fault of a value as an error that says what was asked, what was found, what to do."""
    fault = error.errors(include_url=False)[0]
    if isinstance(fault["input"], float) and math.isnan(fault["input"]):  # it is of no range
        fault["type"] = "finite_number"
    if isinstance(ours := fault.get("ctx", {}).get("error"), SaeIndexError):
        return copy(ours)  # itself would be held by its context, pydantic's error: never freed
    names = [str(one) for one in fault["loc"] if isinstance(one, int) or _is_name(one)]
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_option(names[-1], option_names(kind), ".".join(names[:-1]) or _called(kind))
    name, value = ".".join(names) or _called(kind), fault["input"]
    found, do = _FAULTS.get(fault["type"], _other)(fault)
    asked = name if fault["type"].startswith("missing") else f"{name}={value!r:.80}"
    return InvalidInputError(asked, found, do)


def _is_name(part: str) -> bool:
    """Whether a part of a place is the name of an option, not the tag of a branch of a union."""
    return (
        part.isidentifier()
        and not part[0].isupper()
        and part not in ("str", "int", "float", "bool", "tuple", "list", "dict")
    )


# Options of other programs, and what they are here.
MEANT = {
    "filter": "where",
    "filters": "where",
    **dict.fromkeys(("k", "n", "n_results", "size", "top_k"), "limit"),
}


def unknown_option(name: str, known: Sequence[str], asked: str) -> InvalidInputError:
    """Return the error of an option that there is not, with the nearest that there is."""
    near = [one for one in (MEANT.get(name),) if one in known] or get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return InvalidInputError(asked, f"no option {name!r}", f"{hint}Use {', '.join(sorted(known))}.")


def option_names(kind: type) -> list[str]:
    """Return the names of the options of a request."""
    return [one.name for one in fields(kind)]


def _kind(do: str) -> Callable[[ErrorDetails], tuple[str, str]]:
    return lambda fault: (kind_of(fault["input"]), f"Give {do}.")


def _range(fault: ErrorDetails) -> tuple[str, str]:
    (what, limit), *_ = fault["ctx"].items()
    words = {
        "ge": f"{limit} or more",
        "gt": f"more than {limit}",
        "le": f"at most {limit}",
        "lt": f"less than {limit}",
    }
    return "out of range", f"Use {words[what]}."


def _length(fault: ErrorDetails) -> tuple[str, str]:
    what = "characters" if isinstance(fault["input"], str) else "values"
    (_, limit), *_ = ((name, size) for name, size in fault["ctx"].items() if name.endswith("_length"))
    least = "short" in fault["type"]
    return f"{len(fault['input']):,} {what}", f"Give {'at least' if least else 'up to'} {limit:,}."


def _other(fault: ErrorDetails) -> tuple[str, str]:
    return fault["msg"].removeprefix("Value error, "), "Correct it."


_FAULTS: Mapping[str, Callable[[ErrorDetails], tuple[str, str]]] = {
    "literal_error": lambda fault: ("no such choice", f"Use {fault['ctx']['expected']}."),
    "missing": lambda _: ("it is missing", "Give it."),
    "missing_argument": lambda _: ("it is missing", "Give it."),
    "finite_number": lambda _: ("not a finite number", "Use one."),
    **dict.fromkeys(("greater_than", "greater_than_equal", "less_than", "less_than_equal"), _range),
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), _kind("a whole number")),
    **dict.fromkeys(("float_type", "float_parsing"), _kind("a number")),
    **dict.fromkeys(("too_short", "too_long", "string_too_short", "string_too_long"), _length),
    "bool_type": _kind("True or False"),
    "string_type": _kind("a text"),
    **dict.fromkeys(("tuple_type", "list_type", "is_instance_of", "sequence_str"), _kind("a list")),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type"), _kind("an object with names")),
}


if TYPE_CHECKING:
    Doubles: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
else:

    def _array(kind: str) -> Any:
        def read(given: Any) -> Any:
            import numpy

            return numpy.asarray(given, kind)

        schema = WithJsonSchema({"type": "array", "items": {"type": "number"}})
        return Annotated[Any, PlainValidator(read), PlainSerializer(lambda array: array.tolist()), schema]

    Doubles, Integers = _array("float64"), _array("int64")


class Result:
    """What an operation returns: a data class that is written as JSON, and read again as what it was."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        found: dict[str, Any] = adapter(type(self)).dump_python(self, mode="json", by_alias=True)
        return found

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the result that :meth:`to_json` wrote; MismatchError for one of another version."""
        try:
            found: Self = adapter(cls).validate_python(given)
        except ValidationError as error:
            raise MismatchError(
                f"a {cls.__name__}", str(invalid(error, cls)), "Use the version that wrote it."
            ) from None
        return found


def narrowed(kind: type[C], options: C) -> C:
    """Return the options of ``kind`` alone, of options that have further ones."""
    return kind(**{name: getattr(options, name) for name in option_names(kind)})


def dumped(value: Any) -> Any:
    """Return an option that is written in no way of its own as JSON: a text, ids, a filter, a result."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    return list(value) if isinstance(value, tuple) else value


def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what reads and writes the JSON of a type; it is made once."""
    if kind not in _ADAPTERS:
        with _BUILDING:  # what is deferred is built now: two threads would break the class for good
            if kind not in _ADAPTERS:
                made = TypeAdapter[Any](kind)
                made.rebuild()
                _ADAPTERS[kind] = made
    return _ADAPTERS[kind]


def to_json(value: Any, kind: Any = None) -> Any:
    """Return a request or a part of a result as plain JSON types, without what has its default."""
    return adapter(kind or type(value)).dump_python(value, mode="json", exclude_defaults=True, by_alias=True)


def from_json(kind: type[C], given: Any) -> C:
    """Return the request that a JSON object is; InvalidInputError for one that is none."""
    declared: Any = kind.__pydantic_fields__  # type: ignore[attr-defined]
    known = [name for name, one in declared.items() if not one.exclude]
    if isinstance(given, Mapping):
        if unknown := given.keys() - set(known):
            raise unknown_option(min(unknown), known, _called(kind))
        for name, value in given.items():
            check_unicode(name, value)
    try:
        found: C = adapter(kind).validate_python(given)
    except ValidationError as error:
        raise invalid(error, kind) from None
    return found


def check_options(
    target: Callable[..., object], given: Mapping[str, object], asked: str, own: Collection[str] = ()
) -> None:
    """Raise InvalidInputError for an option that ``target`` does not take, or that is in ``own``."""
    known = sorted(signature(target).parameters.keys() - set(own))
    if unknown := sorted(given.keys() - set(known)):
        raise unknown_option(unknown[0], known, asked)


def check_unicode(asked: str, value: object) -> None:
    """Raise InvalidInputError for bytes, and for a text with half a surrogate pair, also inside a value."""
    if isinstance(value, bytes):
        raise InvalidInputError(asked, "bytes", "Give a text.")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            found = f"no valid Unicode at character {error.start + 1}"
            raise InvalidInputError(asked, found, "Correct the text.") from None
    elif isinstance(value, Mapping):
        check_unicode(asked, [*value, *value.values()])
    elif isinstance(value, list | tuple):
        for one in value:
            check_unicode(asked, one)


def check_texts(texts: object) -> None:
    """Raise InvalidInputError for one text where a list of them is embedded: it would be read as letters."""
    if isinstance(texts, str):
        raise InvalidInputError("texts to embed", "one string", "Give a list of strings.")


def check_kind(asked: str, value: object, kinds: type | tuple[type, ...], do: str) -> None:
    """Raise InvalidInputError unless a value is of one of the ``kinds``."""
    if not isinstance(value, kinds):
        raise InvalidInputError(asked, kind_of(value), do)

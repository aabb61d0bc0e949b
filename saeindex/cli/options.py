"""Options of commands, made of the requests that they ask: names, defaults and help stand there, once.

A field is the option of its name. An option that is an object is given by its first field, and the others
are options with its name before theirs: ``--steer "+theory" --steer-max-drift 0.2``.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import WithJsonSchema

from saeindex.errors import InvalidInputError, SaeIndexError
from saeindex.schema import OrFirst

F = TypeVar("F", bound=Callable[..., Any])
PLAIN = (bool, int, float, str, Path)


@dataclass(frozen=True, slots=True)
class _Option:
    """An option of a command: its ``place`` in the request, and how it reads.

    ``first`` is the field of the object at that place that may stand for the whole object.
    """

    place: tuple[str, ...]
    name: str
    kind: Any
    help: str
    is_json: bool = False
    may_be_json: bool = False
    is_required: bool = False
    first: str | None = None

    @property
    def flag(self) -> str:
        """The option as a person types it."""
        return f"--{self.name.replace('_', '-')}"

    def parameter(self, is_argument: bool) -> Parameter:
        """Return the parameter that Typer reads."""
        shown = self.help[:1].upper() + self.help[1:]
        if is_argument:
            kind, default = self.kind, Parameter.empty if self.is_required else ""
            return Parameter(
                self.name, Parameter.KEYWORD_ONLY, default=default,
                annotation=Annotated[kind, typer.Argument(help=shown)],
            )  # fmt: skip
        shown = f"{shown.rstrip('.')}. Repeatable." if get_origin(self.kind) is list else shown
        declared = (f"{self.flag}/--no-{self.flag[2:]}",) if self.kind is bool else (self.flag,)
        kind = self.kind if self.is_required else self.kind | None
        return Parameter(
            self.name, Parameter.KEYWORD_ONLY, default=Parameter.empty if self.is_required else None,
            annotation=Annotated[kind, typer.Option(*declared, help=shown)],
        )  # fmt: skip


def asks(
    request: type, arguments: Sequence[str] = (), without: Sequence[str] = (), **names: str
) -> Callable[[F], F]:
    """Give a command the options of a request; it gets those that were given as its ``options``.

    ``arguments`` are fields that are given by place, ``names`` are other names of fields. A parameter of the
    command that is a data class stands for its fields, which come last.
    """

    def made(command: F) -> F:
        listed = list(_options(request, without, names))
        hints = get_type_hints(command, include_extras=True)
        bundles: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
        own = [
            one.replace(annotation=hints[one.name])
            for one in signature(command).parameters.values()
            if one.name != "options" and one.name not in bundles
        ]
        for kind in bundles.values():
            typed = get_type_hints(kind, include_extras=True)
            own += [one.replace(annotation=typed[one.name]) for one in signature(kind).parameters.values()]
        added = [one.parameter(one.name in arguments) for one in listed]

        @wraps(command)
        def called(**given: Any) -> Any:
            values = {one: given.pop(one.name) for one in listed}
            for name, kind in bundles.items():
                given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
            try:
                return command(options=_nested(values), **given)
            except SaeIndexError as error:
                raise _as_typed(error, listed) from None

        first = [one for one in own if one.default is Parameter.empty]
        placed = sorted(added, key=lambda one: one.name not in arguments)
        rest = [one for one in own if one.default is not Parameter.empty]
        every = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (*first, *placed, *rest)]
        called.__signature__ = signature(command).replace(parameters=every)  # type: ignore[attr-defined]
        called.__annotations__ = {one.name: one.annotation for one in every}
        return called  # type: ignore[return-value]

    return made


def _options(request: Any, without: Sequence[str], names: Mapping[str, str]) -> Iterator[_Option]:
    """Yield the options of a request's fields, each followed by those of its object."""
    for field, about in request.__pydantic_fields__.items():
        if field in without or about.exclude:
            continue
        name, described = names.get(field, field), _help(about)
        nested = _nested_in(about)
        kind, is_json = _kind_of(about, nested)
        if kind is None:
            continue
        may_be = kind is str and _may_be_json(about)
        yield _Option((field,), name, kind, described, is_json, may_be, about.is_required())
        parts = {} if nested is None else nested.__pydantic_fields__
        is_short = any(isinstance(one, OrFirst) for one in _annotations(about))
        first = next(iter(parts)) if is_short else None
        for inner, part in parts.items():
            sort, _ = _kind_of(part, None)
            if sort is not None and inner != first:
                yield _Option((field, inner), f"{name}_{inner}", sort, _help(part), first=first)


def _help(about: Any) -> str:
    """Return what an option does, what may be chosen, and its default."""
    kinds = [
        kind for one in _leaves(about.annotation) for kind in ([*get_args(one)] if _is_list(one) else [one])
    ]
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    default = about.default if isinstance(about.default, PLAIN) else None
    said = f" [{', '.join(choices)}]" if choices else ""
    return f"{about.description}{said}" + ("" if default in (None, "", False) else f" [default: {default}]")


def _nested_in(about: Any) -> Any:
    """Return the request class that a field may be an object of."""
    return next((one for one in _leaves(about.annotation) if hasattr(one, "__pydantic_fields__")
                 and not hasattr(one, "model_fields")), None)  # fmt: skip


def _leaves(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from _leaves(get_args(kind)[0])
    elif get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            yield from _leaves(part)
    else:
        yield kind


def _kind_of(about: Any, nested: Any) -> tuple[Any, bool]:
    """Return how a field is typed, None for one that cannot be, and whether its text is JSON."""
    if nested is not None:
        first = next(iter(nested.__pydantic_fields__.values()))
        return (list[str] if _is_list(first.annotation) else str), False
    given = (one.json_schema for one in _annotations(about) if isinstance(one, WithJsonSchema))
    schema = next(given, None) or {}
    leaves = [one for one in _leaves(about.annotation) if one is not type(None)]
    if schema.get("type") == "array" or any(_is_list(one) for one in leaves):
        return list[str], False
    plain = next((one for one in PLAIN if one in leaves), None)
    if plain is not None and (plain is str or str not in leaves):
        return plain, False
    is_text = any(get_origin(one) is Literal for one in leaves) or str in leaves or bool(schema)
    return (str if is_text else None), schema.get("type") == "object"


def _may_be_json(about: Any) -> bool:
    """Return whether a text may also be given as an object or a list: a condition, a selection of records."""
    given = [one.json_schema or {} for one in _annotations(about) if isinstance(one, WithJsonSchema)]
    nested = _nested_in(about)
    first = () if nested is None else [next(iter(nested.__pydantic_fields__.values()))]
    kinds = {kind.get("type") for schema in given for kind in schema.get("anyOf", ())}
    return bool(kinds & {"object", "array"}) or any(map(_may_be_json, first))


def _annotations(about: Any) -> Iterator[Any]:
    """Yield all that the annotation of a field is made of."""
    waiting = [*about.metadata, about.annotation]
    while waiting:
        one = waiting.pop()
        waiting += [*get_args(one)] if get_origin(one) in (Annotated, Union, types.UnionType) else []
        yield one


def _is_list(kind: Any) -> bool:
    kinds = {get_origin(one) for one in _leaves(kind)}
    return bool(kinds & {list, tuple, Sequence})


def _nested(values: Mapping[_Option, Any]) -> dict[str, Any]:
    """Return the options that were given as a request takes them."""
    found: dict[str, Any] = {}
    for option, value in values.items():
        if value is None or value == [] or (value == "" and not option.is_required):
            continue
        read = value
        if option.is_json or (option.may_be_json and value.lstrip().startswith(("{", "["))):
            try:
                read = json.loads(value)
            except ValueError as error:
                do = 'Give JSON such as {"must": [{"key": "metadata.year", "range": {"gte": 2015}}]}.'
                raise InvalidInputError(option.flag, f"it is not JSON: {error}", do) from None
        if len(option.place) == 1:
            found[option.place[0]] = read
            continue
        field, inner = option.place
        if field not in found:
            wanted = option.flag.removesuffix(f"-{inner.replace('_', '-')}")
            do = f"Give {wanted}, or leave {option.flag} out."
            raise InvalidInputError(f"{option.flag} {value}", f"no {wanted}", do)
        whole = found[field]
        known = {} if option.first is None else {option.first: whole}
        found[field] = {**(whole if isinstance(whole, dict) else known), inner: read}
    return found


def _as_typed(error: SaeIndexError, options: Sequence[_Option]) -> SaeIndexError:
    """Return an error with the names of options as a person types them."""
    for option in sorted(options, key=lambda one: -len(one.place)):
        place = re.escape(".".join(option.place))
        pattern = re.compile(rf"(?<![\w.-]){place}(?:\.\d+)?=('[^']*'|\"[^\"]*\"|[^\s,;]+)")
        for part in ("asked", "found", "do"):
            text = pattern.sub(partial(_typed, option.flag), getattr(error, part))
            setattr(error, part, option.flag if text == ".".join(option.place) else text)
    return error


def _typed(flag: str, found: re.Match[str]) -> str:
    value = found[1].strip("'\"")
    return f"{flag} {value}"

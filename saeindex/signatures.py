"""Keyword options of methods: they are checked on each call and shown by ``help()``.

The fields of one dataclass define them. Methods take ``**options: Unpack[Keywords]``, a TypedDict of the
same names for type checkers; :func:`takes` shows them to ``help()``, ``inspect`` and completion.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import Any, TypeVar

from saeindex.errors import InvalidInputError, kind_of

Method = TypeVar("Method", bound=Callable[..., Any])
# Annotations whose values are checked: the type, and its name in messages.
SCALARS: Mapping[str, tuple[type, str]] = {
    "str": (str, "a text"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "bool": (bool, "True or False"),
    "None": (type(None), "None"),
}


def takes(kind: type, without: Collection[str] = (), **defaults: object) -> Callable[[Method], Method]:
    """Give a method that ends in ``**options`` a signature that lists the fields of ``kind``.

    Fields in ``without`` are left out; ``defaults`` replace the defaults of the dataclass.
    """

    def shown(method: Method) -> Method:
        own = signature(method)
        kept = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        listed = [_parameter(one, defaults) for one in fields(kind) if one.name not in without]
        method.__signature__ = own.replace(parameters=[*kept, *listed])  # type: ignore[attr-defined]
        return method

    return shown


def check_options(
    target: Callable[..., object], given: Mapping[str, object], asked: str, own: Collection[str] = ()
) -> None:
    """Raise InvalidInputError for an option that ``target`` does not take, or that is in ``own``."""
    known = signature(target).parameters.keys() - set(own)
    if unknown := sorted(given.keys() - known):
        near = get_close_matches(unknown[0], known, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InvalidInputError(asked, f"no option {unknown[0]!r}", f"{hint}Use {', '.join(sorted(known))}.")


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for a text, number or bool field of another type, and for a text as a list."""
    for one in fields(kind):
        if isinstance(text := values.get(one.name), str) and str(one.type).startswith("Sequence["):
            do = f"Give a list: [{text!r:.80}]."
            raise InvalidInputError(f"{one.name}={text!r:.80}", kind_of(text), do)
        kinds = str(one.type).split(" | ")
        if one.name not in values or not all(each in SCALARS for each in kinds):
            continue
        value = values[one.name]
        is_wrong_bool = isinstance(value, bool) and "bool" not in kinds
        if is_wrong_bool or not isinstance(value, tuple(SCALARS[each][0] for each in kinds)):
            wanted = " or ".join(SCALARS[each][1] for each in kinds)
            raise InvalidInputError(f"{one.name}={value!r:.80}", kind_of(value), f"Give {wanted}.")


def check_kind(asked: str, value: object, kinds: type | tuple[type, ...], do: str) -> None:
    """Raise InvalidInputError unless a value is of one of the ``kinds``."""
    if not isinstance(value, kinds):
        raise InvalidInputError(asked, kind_of(value), do)


def _parameter(one: Field[Any], defaults: Mapping[str, object]) -> Parameter:
    default = one.default if one.default is not MISSING else Parameter.empty
    return Parameter(
        one.name, Parameter.KEYWORD_ONLY, default=defaults.get(one.name, default), annotation=one.type
    )

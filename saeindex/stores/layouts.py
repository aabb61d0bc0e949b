"""Layouts as JSON, and the check that both engines support a layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from saeindex.errors import InvalidInputError, MismatchError
from saeindex.protocols import Layout, PayloadKind

FORMAT = 1
MAX_DIMENSION = 65_536
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')


def check_layout(layout: Layout) -> Layout:
    """Return ``layout`` with plain containers; raise InvalidInputError if an engine would refuse it."""
    names = layout.names
    if not names:
        raise _refusal("there is no vector", "Name at least one dense or sparse vector.")
    if len(set(names)) < len(names):
        raise _refusal(f"a name is used twice in {names}", "Use a different name for every vector.")
    for name in names:
        _check_name(name)
    for name, dimension in {**layout.dense, **layout.multi}.items():
        if isinstance(dimension, bool) or not isinstance(dimension, int):
            raise _refusal(f"the dimension of {name!r} is {dimension!r}", "Give it as an int.")
        if not 1 <= dimension <= MAX_DIMENSION:
            raise _refusal(f"{name!r} has {dimension} dimensions", f"Use 1 to {MAX_DIMENSION}.")
    for key, kind in layout.payload_indexes.items():
        if kind not in get_args(PayloadKind):
            raise _refusal(f"{key!r} is to be indexed as {kind!r}", f"Use one of {get_args(PayloadKind)}.")
    return Layout(dict(layout.dense), tuple(layout.sparse), dict(layout.payload_indexes), dict(layout.multi))


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """Return the layout as a JSON object for :func:`layout_from_json`."""
    described: dict[str, Any] = {
        "format": FORMAT,
        "dense": dict(layout.dense),
        "sparse": list(layout.sparse),
        "payload_indexes": dict(layout.payload_indexes),
    }
    return described | ({"multi": dict(layout.multi)} if layout.multi else {})


def layout_from_json(kept: Mapping[str, Any], where: str) -> Layout:
    """Return the layout stored at ``where``; raise MismatchError if this version cannot read it."""
    found = kept.get("format")
    if found != FORMAT:
        raise MismatchError(
            f"the layout of {where}", f"its format is {found!r}, not {FORMAT}", "Upgrade saeindex to open it."
        )
    multi = dict(kept.get("multi", {}))
    return Layout(dict(kept["dense"]), tuple(kept["sparse"]), dict(kept["payload_indexes"]), multi)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or name in {".", ".."}:
        raise _refusal(f"a vector is named {name!r}", "Use a short text.")
    if len(name.encode(errors="replace")) > 200 or not name.isprintable() or _FORBIDDEN & set(name):
        raise _refusal(f"a vector is named {name!r}", "Use at most 200 letters, digits, '_' and '-'.")


def _refusal(found: str, do: str) -> InvalidInputError:
    return InvalidInputError("a collection layout", found, do)

"""Options of an analysis by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from saeindex.errors import InvalidInputError

Options = TypeVar("Options")


def options_of(kind: type[Options], given: Mapping[str, Any], what: str) -> Options:
    """Return options by name; InvalidInputError for one that there is not."""
    try:
        return kind(**given)
    except TypeError as error:
        raise InvalidInputError(what, str(error), f"Use the fields of {kind.__name__}.") from error

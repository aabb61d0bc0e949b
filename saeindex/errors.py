"""Every error that saeindex raises on purpose.

SaeIndexError                     the root; has asked, found, do
├── InvalidInputError             a value that cannot be used (also a ValueError)
│   ├── InvalidPointError         a point that a store must not accept
│   ├── InvalidRecordError        a bad record of a source (it is rejected, the run continues)
│   └── QuerySyntaxError          a where or steer text that does not parse
├── UnknownConceptError           a label or feature id that the space does not have
├── RejectedError                 a run rejected a tenth of its records or more; the others are written
├── NotFoundError                 no index, record, space or file has that name
├── MismatchError                 an index and a feature space or setting that do not fit together
├── IndexLockedError              another process has the index open
├── StorageError                  the engine, the server or the disk refused an operation
│   ├── DamageError               a file of an index is missing or is not what was written
│   └── EngineDiedError           the engine of a directory crashed, or its own process ended
├── QueryTimeoutError             a search took longer than its timeout
├── EncoderError                  an encoder or an embedding service failed
├── ServerError                   a saeindex server cannot be reached, or does not answer now
│   └── AccessError               it does not take the key, or the key does not allow the request
└── MissingDependencyError        an optional package is not installed
"""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from typing import Any

_COLLECTED: ContextVar[list[str] | None] = ContextVar("collected", default=None)
_OURS = str(Path(__file__).parent)


class FilterWarning(UserWarning):
    """A filter that cannot be meant so: it names a field that no record has, or a value of another kind."""


def tell(text: str, kind: type[Warning] = FilterWarning) -> None:
    """Warn at the line that called the package; what :func:`collecting` collects is not shown."""
    if (collected := _COLLECTED.get()) is not None:
        collected.append(text)
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, kind, stacklevel=level)


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Yield the list of what is told meanwhile, in place of warnings."""
    told: list[str] = []
    token = _COLLECTED.set(told)
    try:
        yield told
    finally:
        _COLLECTED.reset(token)


def kind_of(value: object) -> str:
    """Return the kind of a value in words, for an error message: "an int", "a dict", "no value"."""
    name = type(value).__name__
    return "no value" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def copy_command(index: object) -> str:
    """Return the command that makes a new index of an index, as a person would type it."""
    return f"`saeindex copy {shlex.quote(str(index))} NEW`"


_SHORT = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_too_short": "is empty",
    "string_pattern_mismatch": "is blank",
}


def first_fault(error: Exception) -> str:
    """Return the first fault that pydantic found, with its place: "limit should be a valid integer"."""
    if not hasattr(error, "errors"):
        return str(error)
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(step) for step in fault["loc"] if "[" not in str(step))
    message = str(fault["msg"]).removeprefix("Value error, ")
    if message.startswith("Input should"):
        return f"{place or 'it'} {message.removeprefix('Input ')}"
    known = _SHORT.get(fault["type"])
    return f"{place} {known}" if known else f"{message} (at {place})" if place else message


class SaeIndexError(Exception):
    """Root of all errors: ``asked`` is the request, ``found`` the problem, ``do`` the remedy."""

    def __init__(self, asked: str, found: str, do: str) -> None:
        """Store the three parts; programs read them as attributes, people read them joined."""
        self.asked, self.found, self.do = asked, found, do
        super().__init__(asked, found, do)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The name of its class and its three parts, of which :func:`rebuilt` makes it again."""
        return type(self).__name__, self.asked, self.found, self.do

    def __str__(self) -> str:
        return f"{self.asked}: {self.found.rstrip('.')}. {self.do.rstrip('.')}."


def rebuilt(kind: object, asked: str, found: str, do: str) -> SaeIndexError | None:
    """Return the error that was sent or kept as the name of its class and its parts, if it is ours."""
    known = globals().get(kind) if isinstance(kind, str) else None
    is_ours = isinstance(known, type) and issubclass(known, SaeIndexError)
    return known(asked, found, do) if is_ours and known is not None else None


class InvalidInputError(SaeIndexError, ValueError):
    """A value cannot be used as it is."""


class InvalidPointError(InvalidInputError):
    """A point would damage a store, or would be stored in a changed form."""


class InvalidRecordError(InvalidInputError):
    """A record cannot be indexed; the run rejects it and continues."""


class QuerySyntaxError(InvalidInputError):
    """A where or steer text does not parse."""


class UnknownConceptError(SaeIndexError):
    """No feature, or more than one, matches the given name."""


class RejectedError(SaeIndexError):
    """A run rejected a tenth of its records or more; the others are written.

    ``report`` is the :class:`saeindex.indexing.pipeline.IndexingReport` of the run.
    """

    def __init__(self, asked: str, found: str, do: str, report: Any = None) -> None:
        """Store the three parts and the report."""
        super().__init__(asked, found, do)
        self.report = report


class NotFoundError(SaeIndexError):
    """Nothing has that name or path."""


class MismatchError(SaeIndexError):
    """Two things do not fit together, such as an index and another index's feature space."""


class IndexLockedError(SaeIndexError):
    """Another process has the index open."""


class StorageError(SaeIndexError):
    """The engine, the server or the disk refused an operation."""


class DamageError(StorageError):
    """A file of an index is missing, or is not what was written."""


class EngineDiedError(StorageError):
    """The engine of a directory crashed, or the process in which it runs by itself ended."""


class QueryTimeoutError(SaeIndexError):
    """A search took longer than its ``timeout``."""


class EncoderError(SaeIndexError):
    """An encoder could not be loaded, or an embedding service failed permanently."""


class LabelerError(SaeIndexError):
    """A service that labels features failed permanently."""


class ServerError(SaeIndexError):
    """A saeindex server cannot be reached, or does not answer a request now."""


class AccessError(ServerError):
    """A saeindex server does not take the key, or the key does not allow the request."""


class MissingDependencyError(SaeIndexError):
    """An optional package is not installed."""


def installed(module: str, asked: str, extra: str) -> Any:
    """Import a package that not every use needs; MissingDependencyError names the extra that has it."""
    try:
        return import_module(module)
    except ImportError as error:
        found, do = f"{error.name or module} is not installed", f'Run pip install "saeindex[{extra}]".'
        raise MissingDependencyError(asked, found, do) from error

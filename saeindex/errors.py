"""Every error that saeindex raises on purpose.

SaeIndexError                     asked, found, do
├── InvalidInputError             a value that no index could take (also a ValueError)
│   ├── InvalidPointError         a point that would harm or silently distort a store
│   ├── InvalidRecordError        one bad record of a source (reported, the run goes on)
│   └── QuerySyntaxError          a where or steer text that does not parse
├── UnknownConceptError           a label or feature id that the space does not have
├── NotFoundError                 no index, record, space or file of that name
├── MismatchError                 an index and a feature space or setting that do not belong together
├── IndexLockedError              another process owns the directory
├── StorageError                  the engine or the disk refused
├── QueryTimeoutError             a search took longer than it was given
├── EncoderError                  an encoder or an embedding service failed
└── MissingDependencyError        an optional package is not installed
"""

from __future__ import annotations


def kind_of(value: object) -> str:
    """Return what a value is, for an error: an int, a dict, no value."""
    name = type(value).__name__
    return "no value" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


class SaeIndexError(Exception):
    """Root of the tree: says what was asked for, what was found, and what to do."""

    def __init__(self, asked: str, found: str, do: str) -> None:
        """Keep the three parts apart, so that programs and people can both use them."""
        self.asked, self.found, self.do = asked, found, do
        super().__init__(asked, found, do)

    def __str__(self) -> str:
        return f"{self.asked}: {self.found.rstrip('.')}. {self.do.rstrip('.')}."


class InvalidInputError(SaeIndexError, ValueError):
    """A value that cannot be used as it is."""


class InvalidPointError(InvalidInputError):
    """A point that a store must not be given."""


class InvalidRecordError(InvalidInputError):
    """A record that cannot be indexed; the run rejects it and goes on."""


class QuerySyntaxError(InvalidInputError):
    """A where or steer text that does not parse."""


class UnknownConceptError(SaeIndexError):
    """No feature, or no clear one, answers to that name."""


class NotFoundError(SaeIndexError):
    """Nothing has that name or path."""


class MismatchError(SaeIndexError):
    """Two things that do not belong together, such as an index and another feature space."""


class IndexLockedError(SaeIndexError):
    """Another process has the index open."""


class StorageError(SaeIndexError):
    """The engine, the server or the disk refused an operation."""


class QueryTimeoutError(SaeIndexError):
    """A search took longer than its ``timeout``."""


class EncoderError(SaeIndexError):
    """An encoder could not be loaded, or an embedding service failed for good."""


class LabelerError(SaeIndexError):
    """A service that labels features failed for good."""


class MissingDependencyError(SaeIndexError):
    """An optional package is needed for this."""

"""The indexes that a server has open: each with its engine in a process of its own, which may die."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from saeindex.config import DEFAULT_SPACE
from saeindex.errors import (
    EngineDiedError,
    InvalidInputError,
    MismatchError,
    NotFoundError,
    SaeIndexError,
    StorageError,
)
from saeindex.index import FeatureIndex
from saeindex.indexing.create_open import drop_index, indexes_in
from saeindex_server.logs import log, log_failure

if TYPE_CHECKING:
    from qdrant_client.models import Filter

    from saeindex.features import FeatureSpace
    from saeindex.protocols import TextEncoder

R = TypeVar("R")
SUFFIX = ".idx"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)
# Parts of an index that are kept open: one for each filter of a key.
PARTS = 32
# Seconds for which a part is used after the revision that it was made for was replaced: what its features
# mean, and its sample, may be that old. Which records are in it is asked of the engine each time.
LAG = 60.0


@dataclass(slots=True)
class _Part:
    """The records of one filter as an index, made of the whole at a revision."""

    # Held by who makes it.
    making: threading.Lock = field(default_factory=threading.Lock)
    index: FeatureIndex | None = None
    # When its revision was last seen to be that of the whole, once it is not.
    replaced: float | None = None
    is_asked_for: bool = False
    # The revision at which it could not be made in the background.
    failed: str | None = None

    def usable(self, lag: float) -> FeatureIndex | None:
        """Return the index, unless its revision was replaced more than ``lag`` seconds ago."""
        is_late = self.replaced is not None and time.monotonic() - self.replaced > lag
        return None if is_late else self.index


class HostedIndex:
    """One index: the whole, and the parts that keys with a filter see. Thread-safe.

    An engine that died is opened again; the call that met its death gets the error.
    """

    def __init__(
        self, place: str, url: str | None, encoder_of: Callable[[FeatureSpace], TextEncoder]
    ) -> None:
        """``place`` is a directory, or a collection on the server at ``url``."""
        self.place, self.url, self._encoder_of = place, url, encoder_of
        self.name = place if url is not None else Path(place).name.removesuffix(SUFFIX)
        self.folder = None if url is not None else Path(place)
        # Held by what changes records, names or profiles.
        self.writing = threading.Lock()
        self.deaths = 0
        self._lock = threading.Lock()
        self._whole: FeatureIndex | None = None
        self._parts: OrderedDict[str, _Part] = OrderedDict()
        # The revision that was seen last, and when.
        self._seen, self._seen_at = "", 0.0
        self._background = ThreadPoolExecutor(1, f"saeindex-parts-{self.name}")

    def whole(self) -> FeatureIndex:
        """Return the whole index; it is opened if it is not."""
        with self._lock:
            if self._whole is None:
                opened = FeatureIndex.open(self.place, url=self.url, isolated=self.url is None)
                opened.encoder = self._encoder_of(opened.space)
                self._whole = opened
            return self._whole

    def index(self, condition: str | None) -> FeatureIndex:
        """Return the index that a key with this filter sees (as JSON; None: the whole).

        After a write, a part is made again in the background, and used as it was for at most ``LAG`` seconds.
        """
        whole = self.whole()
        if condition is None and self.url is not None:
            return whole
        revision = self._noticed(whole)
        if condition is None:
            return whole
        with self._lock:
            part = self._parts.setdefault(condition, _Part())
            self._parts.move_to_end(condition)
            if len(self._parts) > PARTS:
                self._parts.popitem(last=False)
            index = part.usable(LAG)
            is_wanted = part.replaced is not None and not part.is_asked_for and part.failed != revision
            if index is not None and is_wanted and self._whole is whole:
                part.is_asked_for = True
                self._background.submit(self._make_behind, condition, part, whole)
        return self._made(condition, part, whole, LAG) if index is None else index

    def settle(self) -> None:
        """Wait for the parts that are made in the background."""
        self._background.submit(lambda: None).result()

    def _noticed(self, whole: FeatureIndex) -> str:
        """Return the revision; parts of the one before are as old as when that was last seen."""
        revision, now = whole.state.revision, time.monotonic()
        with self._lock:
            if revision != self._seen:
                for part in self._parts.values():
                    part.replaced = self._seen_at if part.replaced is None else part.replaced
            self._seen, self._seen_at = revision, now
        return revision

    def _made(
        self, condition: str, part: _Part, whole: FeatureIndex, lag: float, with_sample: bool = False
    ) -> FeatureIndex:
        """Return a part that is no older than ``lag``; it is made if another thread has not done so."""
        with part.making:
            with self._lock:
                known = part.usable(lag)
            if known is not None:
                return known
            began, revision = time.monotonic(), whole.state.revision
            made = whole.part(query_filter=filter_of(condition))
            if with_sample and made.state.manifest.counts.records:
                made.state.sample()
            with self._lock:
                if self._whole is whole:  # else its engine died meanwhile
                    part.index, part.replaced = made, None if revision == self._seen else began
            return made

    def _make_behind(self, condition: str, part: _Part, whole: FeatureIndex) -> None:
        try:
            self._made(condition, part, whole, 0.0, with_sample=True)
        except EngineDiedError:
            self._mark_dead(whole)
        except Exception as error:
            if self._whole is whole:
                part.failed = self._seen
                log_failure(f"part of {self.name}", error)
        finally:
            part.is_asked_for = False

    def call(self, condition: str | None, function: Callable[[FeatureIndex], R]) -> R:
        """Call a function with the index that a key with this filter sees.

        Errors name the index, not its path. EngineDiedError: its engine died, and was started again.
        """
        whole: FeatureIndex | None = None
        try:
            whole = self.whole()
            return self._answered(whole, lambda: function(self.index(condition)))
        except EngineDiedError as error:
            self._mark_dead(whole)
            do = "Ask again: it was opened again, and what was acknowledged is safe."
            raise EngineDiedError(self._named(error.asked), self._named(error.found), do) from error
        except SaeIndexError as error:
            error.asked, error.found = self._named(error.asked), self._named(error.found)
            error.do = self._named(error.do)
            raise

    def _answered(self, whole: FeatureIndex, call: Callable[[], R]) -> R:
        """Return what a call returns; EngineDiedError also where another met the death, and closed it."""
        try:
            return call()
        except (StorageError, RuntimeError) as error:
            if isinstance(error, EngineDiedError) or self._whole is whole:
                raise
            raise EngineDiedError(f"a call of {self.name}", "its engine died", "Ask again.") from error

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            if self._whole is not None:
                self._whole.close()
            self._whole = None
            self._parts.clear()
        self._background.shutdown(wait=False, cancel_futures=True)

    def _mark_dead(self, dead: FeatureIndex | None) -> None:
        """Close an index whose engine died, and open it again unless another thread has done so."""
        with self._lock:
            if self._whole is not dead or dead is None:
                return
            self.deaths += 1
            log("the engine of an index died", index=self.name, deaths=self.deaths)
            with suppress(SaeIndexError, OSError):
                dead.close()
            self._whole = None
            self._parts.clear()
        with suppress(SaeIndexError, OSError):  # else the next request tries it
            self.whole()

    def _named(self, text: str) -> str:
        return text if self.folder is None else text.replace(str(self.folder), self.name)


class Hosts:
    """All indexes of a server, by name."""

    def __init__(
        self,
        places: list[str],
        url: str | None,
        encoder_of: Callable[[FeatureSpace], TextEncoder],
        folder: Path | None = None,
    ) -> None:
        """``places`` are directories, or collections on the server at ``url``; new ones are in ``folder``."""
        self._hosted: dict[str, HostedIndex] = {}
        self._url, self._encoder_of, self._folder = url, encoder_of, folder
        self._changing = threading.Lock()
        inside = [] if folder is None or not folder.is_dir() else [one.name for one in indexes_in(folder)]
        for place in dict.fromkeys([*places, *inside]):
            one = HostedIndex(place, url, encoder_of)
            if one.name in self._hosted:
                do = "Rename one of the folders: requests name an index by its folder."
                raise InvalidInputError(f"serve {place!r}", f"two indexes have the name {one.name!r}", do)
            self._hosted[one.name] = one

    def __iter__(self) -> Iterator[HostedIndex]:
        return iter(list(self._hosted.values()))

    def create(self, name: str, options: Mapping[str, Any], made: Callable[[], None]) -> HostedIndex:
        """Make an empty index of a name that no other has, and serve it; ``made`` is called in between."""
        asked = f"create {name!r:.80}"
        if not NAME.fullmatch(name) or name.endswith(SUFFIX):
            raise InvalidInputError(asked, "not a name", "Use up to 80 letters, digits, dots, - and _.")
        space = str(options.get("space", DEFAULT_SPACE))
        if not NAME.fullmatch(space) or Path(space).exists():
            raise InvalidInputError(f"space={space!r:.80}", "not a name", "Name a space of the package.")
        place = name if self._folder is None else str(self._folder / f"{name}{SUFFIX}")
        if self._folder is None and self._url is None:
            do = "Start the server with --folder: new indexes are made there."
            raise MismatchError(asked, "the server has no folder for it", do)
        with self._changing:
            if name in self._hosted:
                raise MismatchError(asked, "an index has this name", "Choose another, or delete it first.")
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            FeatureIndex.create(place, url=self._url, **options).close()
            made()
            self._hosted[name] = one = HostedIndex(place, self._url, self._encoder_of)
        return one

    def drop(self, name: str) -> None:
        """Delete an index with all its records, if it is in the folder of new ones, or on a server."""
        with self._changing:
            one = self.get(name)
            if self._url is None and (one.folder is None or one.folder.parent != self._folder):
                do = "Stop the server, and delete its folder."
                raise MismatchError(f"delete {name!r:.80}", "it is not in the folder of new indexes", do)
            with one.writing:
                del self._hosted[one.name]
                one.close()
                drop_index(one.place, url=self._url)

    def get(self, name: str) -> HostedIndex:
        """Return an index by its name, or by the name of its folder; NotFoundError if there is none."""
        found = self._hosted.get(name) or self._hosted.get(name.removesuffix(SUFFIX))
        if found is None:
            raise no_such_index(name)
        return found

    def close(self) -> None:
        """Close all indexes."""
        for one in self._hosted.values():
            with suppress(SaeIndexError):
                one.close()


def no_such_index(name: str) -> NotFoundError:
    """Return the error of an index that is not there, or not for the key that asks."""
    found = "no index has this name, for this key"
    return NotFoundError(f"index {name!r:.80}", found, "See GET /v1/indexes.")


def filter_of(condition: str) -> Filter:
    """Return the filter of a key."""
    from qdrant_client.models import Filter

    return Filter.model_validate_json(condition)

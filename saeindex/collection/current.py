"""The current state of an open index: operations read it, and every write replaces it as a whole."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from saeindex.collection.state import IndexState, QueryVectors
from saeindex.config import CONCEPTS, DENSE, SAE, TEXT
from saeindex.devices import precision_of
from saeindex.errors import InvalidInputError, MismatchError, SaeIndexError, copy_command
from saeindex.features.labels import is_phrase
from saeindex.features.terms import MAX_TERMS
from saeindex.indexing.manifest import Counts, Manifest
from saeindex.indexing.names import check_prefix
from saeindex.indexing.terms import (
    MAX_DEFINED,
    Definition,
    KeptTerm,
    Surroundings,
    features_in,
    first_texts,
    recoded,
    terms_of,
)
from saeindex.language.fields import METADATA, RECORD_ID
from saeindex.stores.directory import EmbeddedStore
from saeindex.stores.waiting import elsewhere

if TYPE_CHECKING:
    from saeindex.indexing.create_open import IndexParts
    from saeindex.protocols import TextEncoder, VectorStore
    from saeindex.types import FloatArray

# Queries that are encoded together, and where PyTorch is not imported yet: that takes the time of hundreds.
MANY_TEXTS, FIRST_TEXTS = 32, 256
# Points in a write after which, at the end of which, and at closing, an engine in this process makes files of
# them: it answers nothing meanwhile.
MANY_UNSETTLED, SETTLED, LEFT = 100_000, 20_000, 2_000
# What every record has; points that other programs write may lack it.
PARTS = (RECORD_ID, TEXT, METADATA, CONCEPTS, DENSE, SAE)


class CurrentState:
    """The state of an open index, and its replacement.

    Where this process owns the points, an operation reads within its turn, so no write comes between. On a
    server, writes of other processes are noticed ``store.stale_after`` seconds later at most.
    """

    def __init__(self, name: str, parts: IndexParts, encoder: Callable[[], TextEncoder]) -> None:
        """``name`` is the index's name in errors; ``encoder`` is called when it is needed."""
        self._name, self.store, self.given_space, self._encoder = name, parts.store, parts.space, encoder
        self.folder = parts.folder
        self._encode = QueryVectors(partial(_encoded, encoder))
        self._replacing, self._adding = threading.RLock(), threading.RLock()
        self._open_writes, self._settled = 0, 0
        self._read_at, self._stored_revision = time.monotonic(), parts.manifest.revision
        self.state = self._made(parts.manifest)

    @contextmanager
    def reading(self) -> Iterator[IndexState]:
        """Yield the state for one operation; MismatchError where a point is no record."""
        with self.store.turns.reading():
            self._notice()
            try:
                yield self.state
            except KeyError as error:
                if not error.args or error.args[0] not in PARTS:
                    raise
                asked, found = f"the records of {self._name}", f"a point without {error.args[0]!r}"
                do = f"Delete such points; `saeindex doctor {self._name}` lists them."
                raise MismatchError(asked, found, do) from error

    def present(self) -> IndexState:
        """Return the state, without waiting for a writer."""
        self._notice()
        return self.state

    def refresh(self) -> None:
        """Forget what was derived: another program has changed the points."""
        with self.store.turns.writing(), self._replacing:
            raw = self.store.read_manifest()
            kept = self.state.manifest if not raw else Manifest.parse(raw, self._name)
            counts = Counts(records=self.store.count())
            self.state.forget()
            self._replace(kept.changed(has_other_points=True, has_other_texts=True, counts=counts))

    def change(self, fields: Callable[[Manifest], Mapping[str, Any]]) -> None:
        """Replace fields of the manifest, such as names and profiles, under a new revision.

        ``fields`` returns them, given the manifest as it is stored.
        """
        with self.store.turns.writing(), self._replacing:
            kept = self._kept()
            self._store(kept.changed(**fields(kept)))

    def keep_updated(self, names: Collection[str]) -> None:
        """Note durably which fields of the metadata updates have set."""
        if {*names} - {*self.state.manifest.updated}:
            self.change(lambda kept: {"updated": tuple(sorted({*kept.updated, *names}))})

    @contextmanager
    def write(self, encodes: bool = False) -> Iterator[Write]:
        """Yield one writing operation, which may have several writes of points, of new vectors or not."""
        write = Write(self, encodes)
        try:
            yield write
        except BaseException:
            with suppress(SaeIndexError):  # what was written before is counted
                write.end()
            raise
        write.end()
        if self.state.manifest.is_being_written and not self._open_writes:
            with self.store.turns.writing():  # another process was interrupted: everything is there now
                self._open_writes += 1
                self.ended(0)

    def settle(self, many: int = LEFT, begun: int = 0) -> None:
        """Let an engine in this process make files of what was written since it had ``begun``, if it is much.

        Else it makes the indexes of them anew in memory at each opening.
        """
        if isinstance(self.store, EmbeddedStore):
            with self.store.turns.writing():
                if self.store.written - max(begun, self._settled) >= many:
                    self.store.optimize()
                    self._settled = self.store.written

    def learn_terms(self) -> None:
        """Learn now the terms of the index's records, which have them when this returns.

        Terms that were learned and that no record has any more are forgotten. If terms were learned or made
        last in a process that was interrupted, all are found again in each record.
        """
        with self._adding:  # else terms that another thread adds seem to be of no record
            self.complete_terms()
            with self.reading() as state:
                kept, count = state.manifest, state.total
                is_read = kept.sentences == "stored" and count
                texts = first_texts(self.store, kept.fields) if is_read else []
                gone = self._unused_terms(kept) if is_read else set()
            present = [one for one in kept.terms if one.name and one.name not in gone]
            own = terms_of(texts, state.space, self._encoder(), MAX_TERMS - len(present))
            if own or gone:
                self.add_terms(own, gone)
            self.change(lambda _: {"learned": count or None, "written": 0})

    def learn_first(self, texts: Sequence[str], records: int) -> None:
        """Learn the terms of an index that has no records, from the texts of the first ones that come."""
        with self._adding:
            if own := terms_of(texts, self.state.space, self._encoder()):
                self.add_terms(own)
            self.change(lambda _: {"learned": records, "written": -records})

    def _unused_terms(self, kept: Manifest) -> set[str]:
        """Return the terms that were learned, that no record has, and that no person refers to."""
        first = self.given_space.n_features
        used = features_in(self.store, kept.fields) if kept.terms else set()
        used |= {*kept.edits.given, *kept.edits.hidden}
        used |= {int(feature) for profile in kept.profiles.values() for feature in profile["edits"]}
        return {
            one.name for feature, one in enumerate(kept.terms, first)
            if one.name and not one.is_defined and feature not in used
        }  # fmt: skip

    def define(self, wanted: Definition) -> int:
        """Make a concept by its definition, or anew; return its feature."""
        asked, given = f"define the concept {wanted.name!r:.80}", " ".join(wanted.name.split())
        with self.reading() as state:
            own, evidence = state.manifest, state.space.evidence
            if evidence is None:
                found = "its space has no evidence of what sentences say: it was fitted, imported or dense"
                do = "Copy the index to a space that has: the default one, or one of `saeindex space make`."
                raise InvalidInputError(asked, found, do)
            if own.sentences != "stored":
                found = "the index has no vectors of sentences"
                raise InvalidInputError(
                    asked, found, f"Run {copy_command(self._name)} with --sentences stored."
                )
            if not is_phrase(given) or not all(one.strip() for one in (*wanted.examples, *wanted.unlike)):
                found = "an empty example" if is_phrase(given) else "not a phrase of at most 200 characters"
                raise InvalidInputError(asked, found, "Give a word or a phrase, and texts that speak of it.")
            if wanted.unlike and not wanted.examples:
                found = "texts that do not speak of it, and none that does"
                raise InvalidInputError(asked, found, "Give examples, too.")
            terms = {one.name.casefold(): one.name for one in own.terms if one.name}
            check_prefix(asked, given)
            feature = next(iter(state.owners(given)), None)
            place = -1 if feature is None else feature - state.space.n_features + len(own.terms)
            if place >= 0 and own.terms[place].name:  # one of its own that was renamed
                terms[given.casefold()] = own.terms[place].name
            if feature is not None and given.casefold() not in terms:
                raise InvalidInputError(asked, f"feature #{feature} has that name", "Give it another name.")
            if len(terms) >= MAX_DEFINED and given.casefold() not in terms:
                found = f"the index has {len(terms):,} concepts of its own"
                raise InvalidInputError(asked, found, "Define one of these anew.")
            around = Surroundings.of(self.store, evidence.mean)
        term = wanted._replace(name=terms.get(given.casefold(), given)).term(self._encoder(), around)
        self.add_terms([term])
        return self.given_space.n_features + [one.name for one in self.state.manifest.terms].index(term.name)

    def add_terms(self, terms: Sequence[KeptTerm], gone: Collection[str] = ()) -> None:
        """Make terms concepts of the index, or define them anew: its records have them when this returns.

        Those that are ``gone`` lose their names, and keep their places.
        """

        first = self.given_space.n_features

        def added(kept: Manifest) -> dict[str, Any]:
            found = [one.unnamed() if one.name in gone else one for one in kept.terms]
            places = {one.name.casefold(): place for place, one in enumerate(found) if one.name}
            for one in terms:
                if (place := places.get(one.name.casefold())) is None:
                    found.append(one)
                elif found[place].name == one.name:  # else another thread has learned it, written otherwise
                    found[place] = one
            return {"terms": tuple(found), "is_coding": True}  # until the records have them

        with self._adding, self.write() as write:
            with write.points():
                known = len(self.state.manifest.terms)
                self.change(added)  # first: no record of an interrupted write has a term that is not there
                space, manifest = self.state.space, self.state.manifest
            names = {one.name for one in terms} | {""}
            changed = {feature for feature, one in enumerate(manifest.terms, first) if one.name in names}
            former = {feature for feature in changed if feature < first + known}
            waiting = recoded(self.store, space, changed, manifest.fields, former)
            payloads: Any = {}
            while payloads is not None:
                with self.store.turns.writing():  # for a page, so that others have their turns between
                    if payloads := next(waiting, None):
                        with write.points() as store:
                            store.set_payload(payloads)
            self.change(lambda _: {"is_coding": False})

    def complete_terms(self) -> None:
        """Let all records have all terms, if a process was interrupted before they had."""
        if self.state.manifest.is_coding and self._adding.acquire(blocking=False):
            try:  # else another thread is about it
                if self.state.manifest.is_coding:
                    self.add_terms([one for one in self.state.manifest.terms if one.name])
            finally:
                self._adding.release()

    def edit_names(self, names: Mapping[int, str], hidden: Mapping[int, bool]) -> None:
        """Give features names of their own ("" takes one back), and hide or show features.

        InvalidInputError for the name of another concept: filters that name that would no longer find it.
        """
        with self.reading() as state:
            for feature, name in names.items():
                if name.strip() and (owners := state.owners(name)) and feature not in owners:
                    asked = f"rename feature #{feature} to {name!r:.80}"
                    found = f"feature #{owners[0]} has that name"
                    raise InvalidInputError(asked, found, "Give it another name.")
        space, encode = self.state.space, self._encoder().encode_query
        self.change(lambda kept: {"edits": kept.edits.changed(space, names, hidden, encode)})

    # For writes ---------------------------------------------------------------------------------------

    def begin(self, encodes: bool) -> None:
        """Note durably that points are about to change, so that no cache of those before serves after."""
        made = precision_of(self._encoder()) if encodes else ""
        if made and made not in self.state.manifest.precisions:
            self.change(lambda kept: {"precisions": tuple(dict.fromkeys((*kept.precisions, made)))})
        with self._replacing:
            self._store(self._kept().changed(is_being_written=True), is_shown=False, is_open=True)
            self._open_writes += 1

    def moved(self, is_of_texts: bool) -> None:
        """Replace the state after points changed, in texts or not; others that share them are told."""
        with self._replacing:
            manifest = self._kept().changed(has_other_points=True, has_other_texts=is_of_texts)
            if self.store.stale_after is not None:
                self._store(manifest, durable=False)
            else:
                self._replace(manifest)

    def ended(self, written: int) -> None:
        """Count the records at the end of a write."""
        with self._replacing:
            self._open_writes -= 1
            counts = Counts(records=self.store.count())
            kept = self._kept()
            update = {"counts": counts, "written": kept.written + written, "is_being_written": False}
            self._store(kept.model_copy(update=update), durable=False)  # the state is that of the last write

    def _kept(self) -> Manifest:
        """Return the manifest as it is stored."""
        if self.store.stale_after is None:
            return self.state.manifest
        kept = Manifest.parse(self.store.read_manifest(), self._name)
        self._check_space(kept)
        return kept

    def _store(
        self, manifest: Manifest, durable: bool = True, is_shown: bool = True, is_open: bool = False
    ) -> None:
        stored = manifest
        if is_open or self._open_writes:  # a kill would leave points of which no state has this revision
            stored = manifest.model_copy(update={"is_being_written": True, "points_revision": uuid4().hex})
        self.store.write_manifest(stored.to_json(), durable)
        self._stored_revision, self._read_at = manifest.revision, time.monotonic()
        if is_shown:
            self._replace(manifest)

    def _replace(self, manifest: Manifest) -> None:
        self.state = self._made(manifest, self.state)

    def _made(self, manifest: Manifest, former: IndexState | None = None) -> IndexState:
        if former is not None and former.revision == manifest.revision:
            former.manifest = manifest  # only what is counted differs
            return former
        known = None if former is None else former.manifest
        is_same = known is not None and (known.terms, known.edits, known.leave_out) == (
            manifest.terms, manifest.edits, manifest.leave_out
        )  # fmt: skip
        space = former.space if former is not None and is_same else manifest.with_own_names(self.given_space)
        return IndexState(self.store, manifest, space, self._encode, self._encoder, self.folder, former)

    def _notice(self) -> None:
        """Replace the state if another process has written."""
        wait = self.store.stale_after
        if wait is not None and time.monotonic() - self._read_at >= wait:
            elsewhere(lambda: self._read_again(wait))

    def _read_again(self, wait: float) -> None:
        with self._replacing:
            if time.monotonic() - self._read_at < wait:
                return
            raw = self.store.read_manifest()
            self._read_at = time.monotonic()
            if raw.get("revision") != self._stored_revision:
                manifest = Manifest.parse(raw, self._name)
                self._check_space(manifest)
                self._stored_revision = manifest.revision
                self._replace(manifest)

    def _check_space(self, manifest: Manifest) -> None:
        if manifest.space.fingerprint != self.state.manifest.space.fingerprint:
            found = "it has another feature space than when it was opened"
            raise MismatchError(f"index {self._name}", found, "Open it again.")


def _encoded(encoder: Callable[[], TextEncoder], texts: Sequence[str]) -> FloatArray:
    """Return the vectors of queries (n, d), of many by what is faster, up to rounding, if there is it."""
    many = MANY_TEXTS if "torch" in sys.modules else FIRST_TEXTS
    in_rows = getattr(encoder(), "encode_query_in_rows", None) if len(texts) >= many else None
    return encoder().encode_query(texts) if in_rows is None else in_rows(texts)


class Write:
    """One operation that changes points, in one or more writes; see :meth:`CurrentState.write`."""

    def __init__(self, current: CurrentState, encodes: bool) -> None:
        """Nothing is written before the first :meth:`points`."""
        self._current, self._encodes = current, encodes
        self.has_begun, self._begun = False, 0

    @contextmanager
    def points(self, is_of_texts: bool = True) -> Iterator[VectorStore]:
        """Yield the store for a write that readers see as a whole, of texts or of metadata alone."""
        store = self._current.store
        with store.turns.writing():
            if not self.has_begun:
                self._current.begin(self._encodes)
                self.has_begun = True
                self._begun = store.written if isinstance(store, EmbeddedStore) else 0
            try:
                yield store
            finally:
                self._current.moved(is_of_texts)
            self._current.settle(MANY_UNSETTLED, self._begun)

    def end(self, written: int = 0) -> None:
        """Count; a second call does nothing."""
        if self.has_begun:
            self.has_begun = False
            with self._current.store.turns.writing():
                if written:  # else it failed
                    self._current.settle(SETTLED, self._begun)
                self._current.ended(written)

"""Terms of an index: learned from its records, kept in its manifest, and found in the records that it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from saeindex.config import (
    CONCEPTS,
    EVIDENCE,
    LEVEL_STRIDE,
    SENTENCES,
    SPANS,
    SPEAKING,
    TEXT,
    suffixed,
)
from saeindex.features.evidence import Evidence, Mention, TextMentions, level_codes
from saeindex.features.terms import EXAMPLES_WEIGHT, MAX_TERMS, Term, find_terms
from saeindex.indexing.names import Strict, from_base64, to_base64
from saeindex.indexing.points import POSSIBLE, mentions_of
from saeindex.indexing.sentences import sentences_in, spans_in, stored_sentences
from saeindex.language.speech import readable
from saeindex.protocols import PhraseEncoder, PointId, TextEncoder, VectorStore
from saeindex.sae.metrics import unit_rows
from saeindex.stores.base import first_points, pages
from saeindex.stores.point_checks import MAX_COUNT

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.types import FloatArray, Ints

# Records that are read, and records from which on terms are learned.
SAMPLED, MIN_RECORDS = 4_096, 64
# Terms that an index can have, with those that a person defines.
MAX_DEFINED = 1_000
# Records whose sentences are in memory at a time, and those that a definition is compared with.
PAGE, AROUND = 512, 1_024
# Robust deviations above the median record from which on few mean a defined concept, how near to it they are
# in few records, the least distance of its examples from that, and the log-odds of these. Of ten examples of
# 85 classes of three corpora (`choose`), F1 at .5 is .68, .40, .74 with 2 deviations, .65, .39, .74 with
# 1.75, and .70, .31, .74 with 2.25; with a fixed share of records, which a common class exceeds, .72, .32,
# .74. Precision is .56, .49, .78, and .90, .33, .81 of what is as near as the examples, which are .83 sure.
DEVIATIONS, USUALLY_RARE, LEAST_GAP, SURE = 2.0, 0.3, 0.1, 1.6
# The weight of what is unlike a concept in its direction. With six sentences on the edge judged, F1 of 80
# classes (`choose`) goes from .68, .48, .74 (ten examples) and .65, .38, .67 (three) to .75, .51, .75 and
# .73, .40, .68; the right ones alone add .00 to .02. Six texts that are far from it change it by -.02 to .01.
# Halfway to most of what is unlike it, wherever that is, it is .79, .52, .75 and .75, .40, .67.
UNLIKE_WEIGHT = 0.5
# Of a normal distribution, the standard deviation over the median absolute deviation.
ROBUST = 1.4826
LEARNED = "a phrase that this collection uses often"


class KeptTerm(Strict):
    """A term as the manifest keeps it: vectors are little-endian float16 in base64; see ``Term``.

    ``examples`` are what a person defined it by, and ``unlike`` texts that do not speak of it.
    """

    name: str
    vector: str
    direction: str
    description: str = ""
    examples: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    meant: tuple[float, float] | None = None
    trust: float | None = None

    @classmethod
    def of(cls, name: str, vector: FloatArray, direction: FloatArray, **defined: Any) -> KeptTerm:
        """Keep a name, its embedding and its direction (d,), and what else a term has."""
        return cls(name=name, vector=to_base64(vector), direction=to_base64(direction), **defined)

    @property
    def is_defined(self) -> bool:
        """Whether a person defined it with words of their own, or with examples."""
        return bool(self.description or self.examples)

    def term(self) -> Term:
        """Return the term."""
        said = self.description or ("" if self.examples else LEARNED)
        return Term(
            self.name,
            from_base64(self.vector),
            from_base64(self.direction),
            said,
            self.meant,
            self.trust,
        )

    def unnamed(self) -> KeptTerm:
        """Return a term that keeps its number, and tells nothing."""
        nothing = np.zeros_like(from_base64(self.vector))
        return KeptTerm.of("", nothing, nothing)


class Definition(NamedTuple):
    """What a person gives to define a concept."""

    name: str
    description: str = ""
    examples: Sequence[str] = ()
    unlike: Sequence[str] = ()

    def term(self, encoder: TextEncoder, around: Surroundings) -> KeptTerm:
        """Return the concept, among what a collection usually says.

        Its direction is the sum of those of its name, its description and, twice, the mean of its examples,
        which are cut into sentences as records are, less half of that of what is unlike it. A sentence means
        it as likely as not halfway between what the examples have, each with the direction that it is left
        out of, and what few records have, or what those have that are unlike it and beyond that.
        """
        if not self.name:  # the place of a term that another index has
            return KeptTerm.of("", np.zeros_like(around.mean), np.zeros_like(around.mean))
        phrases = encoder.encode_query([one for one in (self.name, self.description) if one])
        fixed = unit_rows(phrases - around.usual).sum(0)
        said: dict[str, Any] = {"description": self.description}
        said |= {"examples": tuple(self.examples), "unlike": tuple(self.unlike)}
        if not self.examples:
            return KeptTerm.of(self.name, phrases[0], unit_rows(fixed[None])[0], **said)
        like, unlike = (_Texts.of(given, encoder) for given in (self.examples, self.unlike))

        def direction(own: FloatArray, others: FloatArray) -> FloatArray:
            found = fixed.copy()
            for weight, means in ((EXAMPLES_WEIGHT, own), (-UNLIKE_WEIGHT, others)):
                if len(means):
                    found += weight * unit_rows((means.mean(0) - around.usual)[None])[0]
            return np.asarray(unit_rows(found[None])[0], np.float32)

        towards = direction(like.means, unlike.means)
        near = like.nearness(around.mean, lambda rest: direction(rest, unlike.means))
        usual, top = around.nearness(towards), float(near.mean())
        half = max(top - _rare(usual), LEAST_GAP) / 2
        if len(unlike.means):
            against = unlike.nearness(around.mean, lambda rest: direction(like.means, rest))
            taken = against[against > top - half]
            half = max(top - float(taken.mean()), LEAST_GAP) / 2 if len(taken) else half
        said |= {"meant": (SURE / half, -SURE / half * (top - half))}
        if len(usual):
            said |= {"trust": round(float(np.mean(near[:, None] > usual)), 4)}
        return KeptTerm.of(self.name, phrases[0], towards, **said)


class _Texts(NamedTuple):
    """Texts by their sentences: ``vectors`` (s, d), the text of each, and the mean of each text (e, d)."""

    vectors: FloatArray
    owners: Ints
    means: FloatArray

    @classmethod
    def of(cls, texts: Sequence[str], encoder: TextEncoder) -> _Texts:
        cut = [sentences_in(text, spans_in(text)) for text in texts]
        owners = np.repeat(np.arange(len(cut)), [len(own) for own in cut])
        vectors = encoder.encode_document([one for own in cut for one in own])
        means = np.zeros((len(cut), vectors.shape[1]), np.float32)
        np.add.at(means, owners, vectors)
        counts = np.bincount(owners, minlength=len(cut))[:, None]
        return cls(vectors, owners, (means / counts).astype(np.float32))

    def nearness(self, mean: FloatArray, direction: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Return how near the nearest sentence of each text is to the direction that it is left out of."""
        unit, rows = unit_rows(self.vectors - mean), range(len(self.means))
        directions = [direction(np.delete(self.means, row, axis=0)) for row in rows]
        return np.array([(unit[self.owners == row] @ directions[row]).max() for row in rows])


class Surroundings(NamedTuple):
    """What a collection usually says: the ``vectors`` (s, d) of sentences of records, and the record of each.

    ``mean`` (d,) is that of texts, about which sentences are compared with concepts.
    """

    vectors: FloatArray
    owners: Ints
    mean: FloatArray

    @classmethod
    def of(cls, store: VectorStore, mean: FloatArray) -> Surroundings:
        """Read the first records of a store, whose ids are random."""
        points = first_points(store, AROUND, PAGE, False, [SENTENCES])
        found: list[Any] = [one.vectors[SENTENCES] for one in points if SENTENCES in one.vectors]
        owners = np.repeat(np.arange(len(found)), [len(own) for own in found])
        nothing = np.zeros((0, len(mean)), np.float32)
        return cls(np.concatenate([nothing, *found]).astype(np.float32), owners, mean)

    @property
    def usual(self) -> FloatArray:
        """The mean of sentences (d,), that of all texts where there are few records."""
        return self.vectors.mean(0) if len(set(self.owners.tolist())) >= MIN_RECORDS else self.mean

    def nearness(self, direction: FloatArray) -> FloatArray:
        """Return how near the nearest sentence of each record is to a direction (d,), (0,) of few records."""
        records = int(self.owners.max(initial=-1)) + 1
        if records < MIN_RECORDS:
            return np.zeros(0, np.float32)
        largest = np.full(records, -1.0, np.float32)
        np.maximum.at(largest, self.owners, unit_rows(self.vectors - self.mean) @ direction)
        return largest


def _rare(nearness: FloatArray) -> float:
    """Return what few records reach, given how near each is to a direction."""
    if not len(nearness):
        return USUALLY_RARE
    median = float(np.median(nearness))
    return median + DEVIATIONS * ROBUST * float(np.median(np.abs(nearness - median)))


def is_to_learn(learned: int | None, records: int, written: int) -> bool:
    """Return whether terms are to be learned now, in an index of ``records``.

    They are once it has ``MIN_RECORDS``, and again when it has twice as many as it had then (``learned``), or
    as many were ``written``.
    """
    return records >= MIN_RECORDS and (learned is None or max(written, records - learned) >= learned)


def first_texts(store: VectorStore, fields: Sequence[str]) -> list[str]:
    """Return the texts of the first records of a store, whose ids are random, with their further fields."""
    keys = [suffixed(TEXT, name) for name in ("", *fields)]
    points = first_points(store, SAMPLED, PAGE, keys)
    return [str(point.payload[key]) for point in points for key in keys if key in point.payload]


def terms_of(
    texts: Sequence[str], space: Space, encoder: TextEncoder, most: int = MAX_TERMS
) -> list[KeptTerm]:
    """Return the terms of texts that a space does not have, at most so many; none without evidence.

    The ``encoder`` embeds them, with ``encode_phrases`` if it has that.
    """
    if space.evidence is None:
        return []
    terms = find_terms([*map(readable, texts)], space.evidence.covered, space.names, most)
    found = [name for name, _ in terms]
    encode = encoder.encode_phrases if isinstance(encoder, PhraseEncoder) else encoder.encode_query
    vectors = encode(found) if found else np.zeros((0, len(space.evidence.mean)), np.float32)
    directions = unit_rows(vectors - space.evidence.mean)
    return [KeptTerm.of(*one) for one in zip(found, vectors, directions, strict=True)]


def features_in(store: VectorStore, fields: Sequence[str]) -> set[int]:
    """Return the features that some record of a store possibly speaks of, in its text or a further field."""
    keys = [suffixed(CONCEPTS, name) for name in ("", *fields)]
    codes = [int(code) for key in keys for code, _ in store.facet(key, limit=MAX_COUNT)]
    return {code // LEVEL_STRIDE for code in codes if code % LEVEL_STRIDE == POSSIBLE}


def recoded(
    store: VectorStore,
    space: Space,
    changed: Collection[int],
    fields: Sequence[str],
    former: Collection[int] | None = None,
) -> Iterator[dict[PointId, dict[str, Any]]]:
    """Yield page by page what changes in payloads, so that records have the features that ``changed``.

    These are terms of ``space``, of which records may have the ``former`` ones (by default all) already; the
    records have stored sentences. Unless a term is found by what a sentence means, only the texts of records
    are read, and all of those that have its name, or had it.
    """
    assert space.evidence is not None  # noqa: S101
    evidence, is_meant = space.evidence.only_terms(changed), space.evidence.is_meant(changed)
    codes = {one * LEVEL_STRIDE + POSSIBLE for one in (changed if former is None else former)}
    names = ("", *fields)
    concepts, texts = ([suffixed(base, name) for name in names] for base in (CONCEPTS, TEXT))
    for page in pages(store, None, PAGE, [*texts, *(concepts if codes else ())]) if changed else ():
        chosen = set(range(len(page.points) if is_meant else 0))
        for text, own in zip(texts, concepts, strict=True):
            rows, _ = evidence.words.entries([readable(one.payload.get(text, "")) for one in page.points])
            chosen.update(rows.tolist())
            if codes:
                had = (codes.isdisjoint(one.payload.get(own, ())) for one in page.points)
                chosen.update(row for row, is_free in enumerate(had) if not is_free)
        ids = [page.points[row].id for row in sorted(chosen)]
        yield _recoded(store, evidence, changed, ids, names) if ids else {}


def _recoded(
    store: VectorStore,
    evidence: Evidence,
    changed: Collection[int],
    ids: Sequence[PointId],
    names: Sequence[str],
) -> dict[PointId, dict[str, Any]]:
    """Return what changes in the payloads of points."""
    keys = [suffixed(base, name) for name in names for base in (TEXT, SPANS, CONCEPTS, EVIDENCE, SPEAKING)]
    points = store.get(ids, keys, [suffixed(SENTENCES, name) for name in names])
    changes: dict[PointId, dict[str, Any]] = {}
    for name in names:
        concepts, vectors = suffixed(CONCEPTS, name), suffixed(SENTENCES, name)
        own = [one for one in points if suffixed(EVIDENCE, name) in one.payload and vectors in one.vectors]
        texts = [stored_sentences(point.payload, name) for point in own]
        embedded: list[Any] = [point.vectors[vectors] for point in own]
        for point, of_terms in zip(own, _terms_in(evidence, changed, texts, embedded), strict=True):
            former = mentions_of(point.payload, name)
            kept = [one for one in former if one.feature not in changed]
            new = sorted([*kept, *of_terms], key=lambda one: one.feature)
            if new == former:
                continue
            others = [one for one in point.payload[concepts] if one // LEVEL_STRIDE not in changed]
            percents, numbers = TextMentions.of([new]).payload(0)
            changes.setdefault(point.id, {}).update({
                concepts: sorted([*others, *level_codes(TextMentions.of([of_terms])).tolist()]),
                suffixed(EVIDENCE, name): percents,
                suffixed(SPEAKING, name): numbers,
            })  # fmt: skip
    return changes


def _terms_in(
    evidence: Evidence, changed: Collection[int], texts: Sequence[Sequence[str]], vectors: Sequence[Any]
) -> list[list[Mention]]:
    """Return the mentions of terms that changed in texts, given as sentences with their vectors."""
    ends = np.cumsum([0, *map(len, texts)]).tolist()
    every = [one for own in texts for one in own]
    read = None if evidence.is_meant(changed) else np.unique(evidence.words.entries(every)[0])
    nothing = np.zeros((0, len(evidence.mean)), np.float32)
    embedded = np.concatenate([nothing, *vectors]).astype(np.float32)
    mentions = evidence.of_texts(every, embedded, ends, evidence.spoken(every, ends, read))
    return [[one for one in own if one.feature in changed] for own in mentions]

"""Evidence: how sure it is that a sentence speaks of a named concept.

A sentence says a concept with its words, and means it with its vector. For the words that say most, and for
none at all,

    log-odds = weight of the word + a · nearness + b · (nearness - fifth nearest) + c · ln(words) + d

where the nearness of a sentence to a concept is the cosine of its vector, about the mean of texts, with the
concept's direction. There are two such models: one for words that name the concept, one for all others. The
largest result is the evidence, a probability. The weights were fitted on pairs of sentence and concept that
readers judged, and calibrated on others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from saeindex.config import LEVEL_STRIDE
from saeindex.features.lexicon import Lexicon, forms
from saeindex.language.speech import as_recurring, is_speech
from saeindex.sae.metrics import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.taxonomy import DefinedConcept
    from saeindex.features.terms import Term
    from saeindex.types import Doubles, FloatArray, IntArray, Ints

# Evidence from which on a record has a concept at each level: present, typical, strong, possible.
LEAST = (0.5, 0.7, 0.9, 0.2)
LEAST_LOG_ODDS = log(LEAST[3] / (1 - LEAST[3]))
# How many concepts are nearer to a sentence than the one that the others are compared with.
NEARER = 4
# With fewer concepts, the fifth nearest is far from any sentence, and how much nearer one is says nothing.
MANY = 100
# The least log-odds of a term in a sentence that names it, whatever the examples that define it say: .8.
NAMED_TERM = 1.39
# Sentences at a time, whose nearness to all concepts is in memory.
BLOCK = 1_024
# A word covers a concept, so that it is no term, if it adds so much to the log-odds: as 19 names of 20 do.
COVERS = 3.0
# How much a limit of nearness is lowered, below which log-odds are not computed: more than it is rounded by.
ROUNDING = 1e-4
FILE, WORDS_FILE = "evidence.safetensors", "words.txt"


@dataclass(frozen=True, slots=True)
class LogOdds:
    """The log-odds of evidence, see the top of this file: what does not depend on the word or concept."""

    nearness: float
    margin: float
    length: float
    base: float

    def of(self, nearness: FloatArray, margin: FloatArray, length: FloatArray) -> FloatArray:
        """Return the log-odds without the weight of a word, elementwise."""
        of_vector = self.nearness * nearness + self.margin * margin
        return np.asarray(of_vector + (self.length * length + self.base), np.float32)


class Mentions(NamedTuple):
    """Parallel arrays (m,): sentence, row of the concept, and evidence; by sentence, then by concept."""

    sentences: Ints
    concepts: Ints
    p: Doubles


class Mention(NamedTuple):
    """The evidence ``p`` of a feature, to two digits, and the number of the sentence that gives it."""

    feature: int
    p: float
    sentence: int


@dataclass(frozen=True, slots=True, eq=False)
class TextMentions(Sequence[list[Mention]]):
    """The evidence of texts, ascending by feature: that of text ``i`` is from ``ends[i]`` to ``ends[i + 1]``.

    ``features`` (m,), ``percents`` (m,), and the ``sentences`` (m,) that give it, counted in their text.
    """

    features: Ints
    percents: Ints
    sentences: Ints
    ends: Ints

    @classmethod
    def of(cls, texts: Sequence[Sequence[Mention]]) -> Self:
        """Take the mentions of each text."""
        every = [(one.feature, round(100 * one.p), one.sentence) for own in texts for one in own]
        features, percents, sentences = np.array(every, np.int64).reshape(-1, 3).T
        return cls(features, percents, sentences, np.cumsum([0, *map(len, texts)]))

    def with_known(self, known: Sequence[Sequence[Mention] | None], terms: Collection[int]) -> TextMentions:
        """Return the evidence of texts, that of some as it was known before, beside the ``terms``."""
        return TextMentions.of([
            own if of_text is None else [*of_text, *(one for one in own if one.feature in terms)]
            for own, of_text in zip(self, known, strict=True)
        ])  # fmt: skip

    @property
    def owners(self) -> Ints:
        """The text of each (m,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.ends))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: Any) -> Any:
        at = range(len(self))[row]
        own = slice(*self.ends[at : at + 2].tolist())
        columns = (each[own].tolist() for each in (self.features, self.percents, self.sentences))
        found = zip(*columns, strict=True)
        return [Mention(feature, percent / 100, number) for feature, percent, number in found]

    def payload(self, row: int) -> tuple[str, str]:
        """Return the percents and the numbers of the sentences of a text, as a payload has them."""
        own = slice(*self.ends[row : row + 2].tolist())
        percents, numbers = (
            " ".join(map(str, each[own].tolist())) for each in (self.percents, self.sentences)
        )
        return percents, numbers


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of a space's named concepts: ``features`` (c,) ascending, and what speaks for each.

    ``directions`` (c, d) are those that sentences are compared with, in half precision as files have them,
    ``mean`` (d,) is that of texts. ``named`` is the model of a word that names a concept, ``near`` that of
    all other words, and ``meant`` that of none. With a ``base``, what comes after its features are ``terms``
    of a collection, by name, which change nothing of the evidence of the others. ``of_terms`` (2, t) has what
    a term's nearness counts, and the log-odds without any. ``unread`` sentences are no speech in this index.
    """

    features: IntArray
    directions: FloatArray
    mean: FloatArray
    lexicon: Lexicon
    named: LogOdds
    near: LogOdds
    meant: LogOdds
    base: Evidence | None = None
    terms: tuple[str, ...] = ()
    of_terms: FloatArray | None = None
    unread: frozenset[str] = frozenset()

    def is_named(self, features: IntArray) -> NDArray[np.bool_]:
        """Return which features (f,) are those of named concepts."""
        place = np.searchsorted(self.features, features)
        return np.asarray(self.features[np.minimum(place, len(self.features) - 1)] == features, bool)

    def of_sentences(self, sentences: Sequence[str], vectors: FloatArray) -> Mentions:
        """Return the evidence of ``sentences`` with their vectors (s, d), as far as it is possible."""
        starts = range(0, max(1, len(sentences)), BLOCK)
        parts = [self._of_block(sentences[at : at + BLOCK], vectors[at : at + BLOCK]) for at in starts]
        rows = [part.sentences + at for at, part in zip(starts, parts, strict=True)]
        concepts, p = ([each[number] for each in parts] for number in (1, 2))
        return Mentions(np.concatenate(rows), np.concatenate(concepts), np.concatenate(p))

    def _of_block(self, sentences: Sequence[str], vectors: FloatArray) -> Mentions:
        compared = len((self.base or self).features)
        nearness, fifth, length = measured(sentences, vectors - self.mean, self.directions, compared)
        words = self.words
        texts, entries = words.entries(sentences)
        of_words, is_name = words.concepts[entries], words.is_name[entries]
        own = (near := nearness[texts, of_words]), near - fifth[texts], length[texts]
        said = np.where(is_name, self.named.of(*own), self.near.of(*own)) + words.weights[entries]
        said = np.where(of_words >= compared, np.maximum(said, NAMED_TERM), said)
        is_possible = said >= LEAST_LOG_ODDS
        rows, concepts, meant = self._meant(nearness, fifth, length, compared)
        pairs = np.concatenate([
            rows * nearness.shape[1] + concepts, (texts * nearness.shape[1] + of_words)[is_possible]
        ])  # fmt: skip
        pairs, place = np.unique(pairs, return_inverse=True)
        log_odds = np.full(len(pairs), -np.inf)
        np.maximum.at(log_odds, place, np.concatenate([meant, said[is_possible]]))
        rows, concepts = np.divmod(pairs, nearness.shape[1])
        return Mentions(rows, concepts, 1 / (1 + np.exp(-log_odds)))

    def _meant(
        self, nearness: FloatArray, fifth: FloatArray, length: FloatArray, compared: int
    ) -> tuple[Ints, Ints, FloatArray]:
        """Return the pairs (m,) of sentence and concept that are possible without any word, and log-odds.

        Of each sentence, they are what is nearer to it than a limit, which takes one pass over all pairs.
        """
        model, terms = self.meant, self.of_terms
        least = np.full(len(nearness), -np.inf, np.float32)
        if (slope := model.nearness + model.margin) > 0:
            others = model.margin * fifth - model.length * length - model.base
            least = ((LEAST_LOG_ODDS + others) / slope - ROUNDING).astype(np.float32)
        is_near = nearness >= least[:, None]
        if terms is not None:
            with np.errstate(divide="ignore"):
                limits = np.where(terms[0] > 0, (LEAST_LOG_ODDS - terms[1]) / terms[0] - ROUNDING, -np.inf)
            is_near[:, compared:] = nearness[:, compared:] >= limits
        rows, concepts = np.divmod(np.flatnonzero(is_near), nearness.shape[1])  # faster than nonzero
        near = nearness[rows, concepts]
        log_odds = model.of(near, near - fifth[rows], length[rows])
        if terms is not None:
            own = (is_term := concepts >= compared) * (concepts - compared)
            log_odds = np.where(is_term, terms[0][own] * near + terms[1][own], log_odds)
        is_possible = log_odds >= LEAST_LOG_ODDS
        return rows[is_possible], concepts[is_possible], log_odds[is_possible]

    def spoken(self, sentences: Sequence[str], ends: Sequence[int], rows: Ints | None = None) -> Ints:
        """Return the rows of the sentences of texts, or those of ``rows``, that are speech in this index.

        See :func:`saeindex.language.speech.is_speech`.
        """
        asked = np.arange(len(sentences)) if rows is None else rows
        found = asked[is_speech(sentences, ends, rows)]
        if self.unread:
            found = found[[as_recurring(sentences[row]) not in self.unread for row in found.tolist()]]
        return found

    def of_texts(
        self,
        sentences: Sequence[str],
        vectors: FloatArray,
        ends: Sequence[int],
        read: Ints | None = None,
    ) -> TextMentions:
        """Return the evidence of texts, the largest of their sentences in percent, ascending by feature.

        Of sentences with as many percent, it is the first. The sentences of text ``i`` are from ``ends[i]``
        to ``ends[i + 1]``, counted from 0 in each; only those in ``read`` are read, if it is given.
        """
        rows = np.arange(len(sentences)) if read is None else read
        said = self.of_sentences([sentences[row] for row in rows.tolist()], vectors[rows])
        places, starts = rows[said.sentences], np.asarray(ends, np.int64)
        percents = np.rint(100 * said.p.round(2)).astype(np.int64)
        owners = np.searchsorted(starts, places, side="right") - 1
        order = np.lexsort((places, -percents, said.concepts, owners))
        owners, concepts = owners[order], said.concepts[order]
        is_largest = np.ones(len(order), bool)
        is_largest[1:] = (np.diff(owners) != 0) | (np.diff(concepts) != 0)
        order, owners = order[is_largest], owners[is_largest]
        counts = np.bincount(owners, minlength=len(starts) - 1)
        return TextMentions(
            self.features[concepts[is_largest]].astype(np.int64),
            percents[order],
            places[order] - starts[owners],
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def read_names(self, sentences: Collection[str]) -> None:
        """Find the names in sentences together, which :meth:`word_of` is to be asked about."""
        self.words.names_in(sentences)

    def word_of(self, sentence: str, feature: int) -> tuple[int, int] | None:
        """Return the span of the word in a sentence that names a feature's concept, None if none does."""
        return self.words.name_in(sentence, int(np.searchsorted(self.features, feature)))

    def of_concepts(
        self,
        known: Mapping[tuple[str, str], int],
        concepts: Mapping[int, DefinedConcept],
        directions: FloatArray,
        mean: FloatArray,
        meant: LogOdds | None = None,
    ) -> Evidence:
        """Return the evidence of other concepts, by feature of a space with these ``directions`` (n, d).

        A concept without a definition of its own has the words of the concept of its name here (``known``,
        rows by name in lower case and definition); each has its own name and words, which say as much as
        the name of a concept here usually does. ``meant`` is the model of what no word says, if it is known.
        """
        features = sorted(concepts)
        rows = {
            known.get((concepts[one].name.lower(), concepts[one].description), -1): row
            for row, one in enumerate(features)
            if not concepts[one].examples
        }
        entries = {(word, rows[row]): said for (word, row), said in self.lexicon.items() if row in rows}
        usual = self.usual_name
        for row, feature in enumerate(features):
            for name in (concepts[feature].name, *concepts[feature].words):
                entries |= {(form, row): (usual, True) for form in forms(name) if (form, row) not in entries}
        chosen = np.array(features, np.int32)
        named, near, meant = (
            replace(one, margin=0.0) if len(features) < MANY else one
            for one in (self.named, self.near, meant or self.meant)
        )
        own = directions[chosen].astype(np.float16).astype(np.float32)
        return Evidence(chosen, own, mean, Lexicon.of(entries), named, near, meant)

    def named_by(self, phrase: str) -> list[tuple[int, float]]:
        """Return the features that a word or phrase names, and what it adds to the log-odds, most first."""
        found = dict[int, float]()
        for form in forms(phrase):
            for row, weight in self.words.names_by(form):
                found[row] = max(weight, found.get(row, weight))
        ordered = sorted(found.items(), key=lambda one: -one[1])
        return [(int(self.features[row]), weight) for row, weight in ordered]

    def with_terms(self, first: int, terms: Sequence[Term]) -> Evidence:
        """Return the evidence with terms of a collection, as features from ``first`` on.

        The name of a term says as much as those of concepts usually do.
        """
        usual = self.meant.nearness, self.meant.base
        directions = np.stack([term.direction for term in terms]).astype(np.float16).astype(np.float32)
        return replace(
            self,
            features=np.concatenate([self.features, np.arange(first, first + len(terms), dtype=np.int32)]),
            directions=np.concatenate([self.directions, directions]),
            base=self.base or self,
            terms=(*self.terms, *(term.name for term in terms)),
            of_terms=np.array([term.meant or usual for term in terms], np.float32).T,
        )

    def only_terms(self, features: Collection[int]) -> Evidence:
        """Return the same evidence, in which words say only these terms: much faster."""
        rows = {*np.searchsorted(self.features, sorted(features)).tolist()}
        names = {said: (weight, True) for said, weight in self._names_of_terms.items() if said[1] in rows}
        return replace(self, lexicon=Lexicon.of(names), terms=())

    def is_meant(self, features: Collection[int]) -> bool:
        """Return whether one of these terms is found by what a sentence means, and not by its name alone."""
        if self.of_terms is None or self.base is None:
            return False
        own = self.of_terms[:, np.searchsorted(self.features, sorted(features)) - len(self.base.features)]
        usual = np.array([[self.meant.nearness], [self.meant.base]], np.float32)
        return bool((own != usual).any())

    @cached_property
    def words(self) -> Lexicon:
        """The lexicon with the names of terms: it is made when it is first read."""
        return self.lexicon.extended(self._names_of_terms) if self.terms else self.lexicon

    @cached_property
    def _names_of_terms(self) -> dict[tuple[str, int], float]:
        """The weights of terms' names, by word and row."""
        return {
            (form, row): self.usual_name
            for row, name in enumerate(self.terms, len(self.features) - len(self.terms))
            for own in forms(name)
            for form in (own, f"{own}s")  # no dictionary knows the plural of a word that none has
        }

    @cached_property
    def usual_name(self) -> float:
        """The weight of a name of a concept, the median over concepts."""
        _, of_rows = self.lexicon.surest_names()
        return float(np.median(of_rows))

    @cached_property
    def covered(self) -> frozenset[str]:
        """The words, in base forms, that name a concept or are synonyms of it."""
        of_words, _ = self.words.surest_names()
        return frozenset(self.words.words[word] for word in np.flatnonzero(of_words >= COVERS).tolist())

    @property
    def own_terms(self) -> frozenset[int]:
        """The features that are terms of a collection."""
        own = () if self.base is None else self.features[len(self.base.features) :].tolist()
        return frozenset(own)

    @cached_property
    def digest(self) -> str:
        """A hash of all that the evidence of the space's own concepts depends on."""
        if self.base is not None:
            return self.base.digest
        lexicon = self.lexicon
        lists = lexicon.starts, lexicon.concepts, lexicon.weights, lexicon.is_name
        parts = self.features, *lists, self.mean, self.directions
        found = hashlib.sha256("\n".join(lexicon.words).encode())
        for part in parts:
            found.update(np.ascontiguousarray(part).tobytes())
        found.update(json.dumps([asdict(one) for one in self._models().values()]).encode())
        return found.hexdigest()

    def _models(self) -> dict[str, LogOdds]:
        """Return the models by name; what no word says is the same as what is near, unless it is known."""
        own = {} if self.meant == self.near else {"meant": self.meant}
        return {"named": self.named, "near": self.near, **own}

    def save(self, folder: Path) -> None:
        """Write the files of a space's folder that :meth:`load` reads."""
        from safetensors.numpy import save_file

        lexicon = self.lexicon
        arrays = {
            "features": self.features.astype(np.int32),
            "mean": self.mean.astype(np.float32),
            "starts": lexicon.starts.astype(np.int32),
            "concepts": lexicon.concepts.astype(np.int16 if len(self.features) < 2**15 else np.int32),
            "weights": lexicon.weights.astype(np.float16),
            "is_name": lexicon.is_name,
            "directions": self.directions.astype(np.float16),
        }
        models = {name: json.dumps(asdict(one)) for name, one in self._models().items()}
        save_file(arrays, folder / FILE, metadata=models)
        (folder / WORDS_FILE).write_text("\n".join(lexicon.words) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read the files of a space's folder; None of none."""
        from safetensors import safe_open

        if not (folder / FILE).exists():
            return None
        with safe_open(folder / FILE, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            models = {name: LogOdds(**json.loads(one)) for name, one in (file.metadata() or {}).items()}
        words = (folder / WORDS_FILE).read_text("utf-8").splitlines()
        lexicon = Lexicon(
            tuple(words),
            arrays["starts"].astype(np.int64),
            arrays["concepts"].astype(np.int32),
            arrays["weights"].astype(np.float32),
            arrays["is_name"],
        )
        if not len(words) + 1 == len(lexicon.starts) or lexicon.starts[-1] != len(lexicon.concepts):
            raise ValueError("the words of the evidence do not fit to their entries")
        features, mean = arrays["features"], arrays["mean"]
        named, near = models["named"], models["near"]
        meant = models.get("meant", near)
        directions = arrays["directions"].astype(np.float32)
        return cls(features, directions, mean, lexicon, named, near, meant)


def measured(
    sentences: Sequence[str], vectors: FloatArray, directions: FloatArray, compared: int | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the nearness (s, c) of sentences, the fifth nearest (s,), and the logarithm of their words (s,).

    ``vectors`` (s, d) are theirs about the mean of texts, ``directions`` (c, d) those of the concepts, of
    which the first ``compared`` count for the fifth nearest.
    """
    nearness = unit_rows(vectors) @ directions.T
    length = np.log([max(1, len(one.split())) for one in sentences], dtype=np.float32)
    return nearness, fifth_nearest(nearness[:, :compared]), length


def fifth_nearest(nearness: FloatArray) -> FloatArray:
    """Return the nearness (s,) of the concept that others are compared with, the least if there are fewer."""
    at = max(0, nearness.shape[1] - 1 - NEARER)
    return np.partition(nearness, at, axis=1)[:, at]


def level_codes(said: TextMentions, stride: int = 0) -> Ints:
    """Return the level codes of texts, ascending: the features of each text are ``stride`` above the last."""
    features = said.owners * stride + said.features
    codes = (
        features[said.percents >= round(100 * least)] * LEVEL_STRIDE + level
        for level, least in enumerate(LEAST)
    )
    return np.sort(np.concatenate([*codes]))

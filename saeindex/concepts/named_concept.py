"""Named concepts: which records have a concept, given by a description, examples, features or metadata.

A set of features or a metadata value gives an exact answer. A description (best with the other values of its
field) and examples give scores, as in a search by property: features whose names say the description are
evidence. Neighbours are not, which would make near records too similar. Scores are turned into probabilities

    w = 1 / (1 + exp(-s (score - t)))

where t is such that the mean is the ``share`` of records that have the concept, if this share is given.
Records that are given as examples have a probability of 1 or 0. Pairs are ranked by these probabilities, or,
without a share, by e^score: where nobody knows how many records have a concept, the best say the most.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from saeindex.collection.sample import SAMPLE, CollectionSample, Rows
from saeindex.collection.snapshot import Snapshot, columns_of, rows_of_snapshot, sample_of
from saeindex.concepts.feedback import check_sides
from saeindex.concepts.inference import Asked, Recipe, scored_by
from saeindex.concepts.resolver import ConceptResolver, reads, said_by
from saeindex.config import LEVELS_OF
from saeindex.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.protocols import TextEncoder
    from saeindex.types import Doubles, LevelName

# Chosen on `choose` parts: by the agreement of pairs of ten-example concepts with those of the labels, and by
# the rank of planted pairs.
RECIPE = Recipe(neighbours=0.0, example_words=1.5)
SLOPE = 3.0
# If the share is not given: the score, in standard deviations, at which the probability is 0.5.
STANDS_OUT = 2.0
# The weight of an example record in the rank of a pair, relative to an estimated record; without a share the
# score that is the most that counts, and that of an example.
EXAMPLE_WEIGHT, MOST = 3.0, 4.5
BLOCK = 16_384
DO = "Write NAME=DESCRIPTION, NAME=like: ID, ID, NAME=#12,#41@strong or NAME=metadata.FIELD=VALUE."
_PART = re.compile(r"(like|unlike|against|share|field):(.*)", re.DOTALL)
_FEATURES = re.compile(r"#[0-9]+(?:\s*,\s*#[0-9]+)*(?:@(\w+))?")
_METADATA = re.compile(r"(metadata\.[^=\s]+)\s*=\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedConcept:
    """A concept with a name, defined by a description and examples, by features, or by metadata.

    ``description`` (with ``against``, the other values of its field) can be combined with ``like`` and
    ``unlike`` (record ids). ``features`` means any of these features at ``level``. ``metadata`` (such as
    ``"metadata.topic"``) equals ``value``, or is a list that contains it. ``share`` is the share of records
    that have the concept, if known: it improves the detection of pairs much. ``field`` is the text field.
    """

    name: str
    description: str | None = None
    against: Sequence[str] = ()
    like: Sequence[str] = ()
    unlike: Sequence[str] = ()
    features: Sequence[int] = ()
    level: LevelName = "typical"
    metadata: str | None = None
    value: Any = None
    share: float | None = None
    field: str = ""

    def __post_init__(self) -> None:
        """Raise InvalidInputError for a concept without a definition, or with more than one."""
        is_described = bool(self.description or self.like or self.unlike)
        definitions = [is_described, bool(self.features), self.metadata is not None]
        if sum(definitions) != 1:
            found = "more than one definition" if any(definitions) else "no definition"
            do = "Give a description or examples, or features, or a metadata field with its value."
            raise InvalidInputError(f"concept {self.name!r}", found, do)
        check_sides(f"concept {self.name!r}", self.like, self.unlike)
        if self.share is not None and not 0 < self.share < 1:
            found, do = f"a share of {self.share}", "Use a share between 0 and 1."
            raise InvalidInputError(f"concept {self.name!r}", found, do)


@dataclass(frozen=True, eq=False)
class Membership:
    """The probabilities ``weights`` (m,) that records have a concept; ``is_exact`` if all are 0 or 1.

    ``evidence`` (m,) are the weights by which pairs are ranked; examples have larger weights. Tests leave out
    the ``examples`` (m,): they define the concept, so that they are no evidence for it.
    """

    weights: Doubles
    evidence: Doubles
    is_exact: bool
    examples: NDArray[np.bool_]

    @classmethod
    def exact(cls, is_member: NDArray[np.bool_]) -> Membership:
        """Return the membership of records (m,) that have the concept or not."""
        weights = is_member.astype(np.float64)
        return cls(weights, weights, True, np.zeros(len(weights), bool))

    def take(self, rows: NDArray[np.int64]) -> Membership:
        """Return the membership of these records."""
        return Membership(self.weights[rows], self.evidence[rows], self.is_exact, self.examples[rows])


class ConceptReader:
    """Determines which records of a snapshot have named concepts, and caches shared intermediate data."""

    def __init__(self, snapshot: Snapshot, encoder: TextEncoder | None = None) -> None:
        """Bind the records and the space's encoder, which only descriptions need."""
        self.snapshot, self._encoder = snapshot, encoder

    def membership(self, concept: NamedConcept) -> Membership:
        """Return which records have ``concept``.

        InvalidInputError, NotFoundError or UnknownConceptError if it does not apply to the snapshot.
        """
        if concept.metadata is not None:
            return Membership.exact(self._recorded(concept))
        if concept.features:
            return Membership.exact(self._active(concept))
        return self._guessed(concept)

    def scores(self, concept: NamedConcept) -> Doubles:
        """Return how well each record fits the description and examples, in standard deviations (m,)."""
        like, unlike = (self.snapshot.rows_of(ids) for ids in (concept.like, concept.unlike))
        zero = np.zeros((1, self._rows.x.shape[1]), np.float32)
        vectors = zero if concept.description is None else self._described(concept)
        asked = Asked(
            vectors,
            concept.description is not None,
            self._rows.take(like) if len(like) else None,
            self._rows.take(unlike) if len(unlike) else None,
            said_by(self._names.named(concept.description or "")),
        )
        # Without a text the encoder is not used.
        encoder: Any = self._encoder
        scorer = scored_by(self._sample, asked, encoder, RECIPE)
        blocks = range(0, len(self._rows), BLOCK)
        rows = [self._rows.take(np.arange(s, min(s + BLOCK, len(self._rows)))) for s in blocks]
        total = np.concatenate([scorer(block).total for block in rows])
        found: Doubles = (total - total.mean()) / max(float(total.std()), 1e-9)
        return found

    def _guessed(self, concept: NamedConcept) -> Membership:
        scores = self.scores(concept)
        at = STANDS_OUT if concept.share is None else threshold(scores, concept.share)
        weights = expit(SLOPE * (scores - at))
        evidence, of_example = weights.copy(), EXAMPLE_WEIGHT
        if concept.share is None:
            evidence, of_example = np.exp(np.minimum(scores, MOST)), float(np.exp(MOST))
        examples = np.zeros(len(weights), bool)
        for ids, known in ((concept.like, 1.0), (concept.unlike, 0.0)):
            rows = self.snapshot.rows_of(ids)
            weights[rows], evidence[rows], examples[rows] = known, known * of_example, True
        return Membership(weights, evidence, False, examples)

    def _recorded(self, concept: NamedConcept) -> NDArray[np.bool_]:
        field = concept.metadata or ""
        values, having = self.snapshot.membership(field)
        matching = [i for i, value in enumerate(values) if value == concept.value]
        if not matching:
            shown = ", ".join(repr(value) for value in values[:8]) + (", …" if len(values) > 8 else "")
            found = f"the field has {shown}"
            raise InvalidInputError(f"{field} = {concept.value!r}", found, "Use one of its values.")
        is_member: NDArray[np.bool_] = having[:, matching].toarray().any(axis=1)
        return is_member

    def _active(self, concept: NamedConcept) -> NDArray[np.bool_]:
        for feature in concept.features:
            self.snapshot.space.label(feature)  # raises for one that there is not
        having = self.snapshot.at(concept.level)[:, list(concept.features)]
        return np.asarray(having.sum(axis=1)).ravel() > 0

    def _described(self, concept: NamedConcept) -> NDArray[np.float32]:
        if self._encoder is None:
            asked = f"concept {concept.name!r} by its description"
            raise InvalidInputError(asked, "no encoder", "Give the space's encoder.")
        texts = [concept.description or "", *concept.against]
        return np.asarray(self._encoder.encode_query(texts), np.float32)

    @cached_property
    def _names(self) -> ConceptResolver:
        # Without a description it is not asked.
        encoder: Any = self._encoder
        return ConceptResolver(
            self.snapshot.space, lambda text: encoder.encode_query([text])[0], partial(reads, encoder)
        )

    @cached_property
    def _rows(self) -> Rows:
        everything = np.arange(len(self.snapshot))
        return rows_of_snapshot(self.snapshot, everything, columns_of(self.snapshot, self._sample))

    @cached_property
    def _sample(self) -> CollectionSample:
        # Rows are in the order of point ids, which are hashes: the first rows are a random sample.
        first = np.arange(min(SAMPLE, len(self.snapshot)))
        return replace(sample_of(self.snapshot, first), total=len(self.snapshot))


def threshold(scores: Doubles, share: float) -> float:
    """Return t at which the mean of the probabilities is ``share``."""
    low, high = float(scores.min()) - 20.0, float(scores.max()) + 20.0
    return float(brentq(lambda at: expit(SLOPE * (scores - at)).mean() - share, low, high))


def parse_concept(text: str) -> NamedConcept:
    """Return the concept that a text defines; InvalidInputError shows how to write a concept.

    ``sad=feeling sad; against: being happy; share: 0.05`` is a description, ``sad=like: id1; unlike: id2``
    are examples, ``sad=#12, #1041@strong`` are features at a level, ``music=metadata.topic=music`` is a
    metadata value. ``field: prompt`` is a further text field.
    """
    name, equals, definition = text.partition("=")
    name = name.strip()
    if not equals or not name or not definition.strip():
        raise InvalidInputError(f"concept {text!r}", "no name or no definition", DO)
    asked, options = f"concept {text!r}", dict[str, Any]()
    for part in filter(None, (part.strip() for part in definition.split(";"))):
        if (found := _PART.fullmatch(part)) is None:
            if options.keys() & {"features", "metadata", "description"}:
                raise InvalidInputError(asked, f"a second meaning {part!r}", DO)
            options |= _meaning(part, asked)
            continue
        key, value = found[1], found[2].strip()
        if key in ("like", "unlike"):
            ids = [one.strip() for one in value.split(",") if one.strip()]
            options[key] = [*options.get(key, []), *ids]
        elif key == "against":
            options[key] = [*options.get(key, []), value]
        else:
            options[key] = value
    try:
        options |= {"share": float(options["share"])} if "share" in options else {}
    except ValueError:
        no_number = f"the share {options['share']!r} is not a number"
        raise InvalidInputError(asked, no_number, DO) from None
    return NamedConcept(name, **options)


def _meaning(part: str, asked: str) -> dict[str, Any]:
    """Read a part as features, a metadata value or a description."""
    if features := _FEATURES.fullmatch(part):
        if (level := features[1] or "typical") not in LEVELS_OF:
            do = f"Use one of {', '.join(LEVELS_OF)}."
            raise InvalidInputError(asked, f"level {level!r}", do)
        numbers = re.findall(r"\d+", part.partition("@")[0])
        return {"features": [int(number) for number in numbers], "level": level}
    if metadata := _METADATA.fullmatch(part):
        value: Any = metadata[2].strip()
        with suppress(json.JSONDecodeError):  # a number, bool or quoted string; else the text itself
            value = json.loads(value)
        return {"metadata": metadata[1], "value": value}
    return {"description": part}

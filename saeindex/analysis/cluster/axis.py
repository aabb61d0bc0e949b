"""An axis: a name and its values, which are described, given by examples, or inferred; scores by these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.cluster.anchored_em import EXAMPLES, Views, Whitened, example_scores, standardised
from saeindex.collection.sample import CollectionSample
from saeindex.concepts.inference import Asked, Recipe, scored_by, units
from saeindex.errors import InvalidInputError
from saeindex.schema import check_kind

if TYPE_CHECKING:
    from saeindex.collection.snapshot import Snapshot
    from saeindex.collection.state import IndexState
    from saeindex.types import Doubles, FloatArray, Ints

MAX_VALUES = 200
MAX_TEXTS = 50
_FORMS = 'Write "tone: angry, calm, joking", or {"tone": ["angry", "calm", "joking"]}.'
VALUES, CANDIDATES, TEXTS = 4, 48, 3
# The minimum share of records with a concept for it to name a value.
MIN_SHARE = 0.005
SEED = 0


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One value: ``texts`` describe it or are utterances of it, ``examples`` are ids of records that have it.

    No texts means that the name says nothing either.
    """

    name: str
    texts: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """What to cluster by. Without values they are inferred from the records, by the name alone."""

    name: str
    values: tuple[AxisValue, ...] = ()
    is_inferred: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidInputError for values that cannot be used."""
        _check(self)

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(value.name for value in self.values)}" if self.values else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values, in order."""
        return tuple(value.name for value in self.values)

    @property
    def has_texts(self) -> bool:
        """Whether every value has a description."""
        return all(value.texts for value in self.values)

    @property
    def has_examples(self) -> bool:
        """Whether every value has an example."""
        return all(value.examples for value in self.values)

    def check_described(self) -> None:
        """Raise InvalidInputError unless all values have texts or all have examples."""
        if self.values and not self.has_texts and not self.has_examples:
            silent = next((v.name for v in self.values if not v.texts and not v.examples), None)
            found = (
                "some have texts, others examples"
                if silent is None
                else f"{silent!r} has neither texts nor examples"
            )
            do = "Describe every value, or give examples of every one."
            raise InvalidInputError(f"the axis {self.name!r}", found, do)

    @classmethod
    def of(cls, asked: Axis | str | Mapping[str, object]) -> Axis:
        """Return an axis from text, or from ``{name: [value, …]}`` or ``{name: {value: text or texts}}``."""
        if isinstance(asked, Axis):
            return asked
        if isinstance(asked, str):
            return cls.parse(asked)
        if not isinstance(asked, Mapping) or len(asked) != 1:
            raise InvalidInputError("an axis", f"{type(asked).__name__} of {asked!r}"[:200], _FORMS)
        ((name, values),) = asked.items()
        return cls(str(name), _values_of(values))

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Read ``name: value, value``; with ``;`` between values they may hold commas.

        ``value = text`` describes a value by more than its name; a name alone leaves the values open.
        """
        name, colon, rest = text.partition(":")
        parts = [part.strip() for part in rest.split(";" if ";" in rest else ",")]
        values = [one.strip() for one in re.split("[,;]", text) if one.strip()]
        if not colon and len(values) > 1:
            do = f"Name the axis before its values: 'kind: {', '.join(values)}'."
            raise InvalidInputError(f"the axis {text!r:.200}", "values, and no name before them", do)
        if colon and not all(parts):
            raise InvalidInputError(f"the axis {text!r}", "an empty value", _FORMS)
        return cls(name.strip(), tuple(_parsed(part) for part in parts if part))

    def with_examples(self, examples: Mapping[str, Sequence[str]]) -> Axis:
        """Return this axis with record ids as examples of its values; without values, it gets these values.

        InvalidInputError if the axis lacks a value.
        """
        known = {value.name: value for value in self.values or (AxisValue(n, (n,)) for n in examples)}
        if strange := [name for name in examples if name not in known]:
            do = "Name one of its values."
            raise InvalidInputError(f"examples of {strange[0]!r}", f"the axis has {', '.join(known)}", do)
        for name, ids in examples.items():
            if isinstance(ids, str):
                raise InvalidInputError(f"examples of {name!r}", "one text", "Give a list of record ids.")
            more = dict.fromkeys((*known[name].examples, *map(str, ids)))
            known[name] = replace(known[name], examples=tuple(more))
        return replace(self, values=tuple(known.values()))


def _parsed(part: str) -> AxisValue:
    name, equals, text = (piece.strip() for piece in part.partition("="))
    return AxisValue(name, (text if equals else name,))


def _values_of(values: object) -> tuple[AxisValue, ...]:
    """Return the values of a mapping's side."""
    if isinstance(values, Mapping):
        return tuple(AxisValue(str(name), _texts_of(str(name), texts)) for name, texts in values.items())
    if isinstance(values, Sequence) and not isinstance(values, str):
        return tuple(v if isinstance(v, AxisValue) else AxisValue(str(v), (str(v),)) for v in values)
    raise InvalidInputError("the values of an axis", repr(values)[:200], _FORMS)


def _texts_of(name: str, texts: object) -> tuple[str, ...]:
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts):
        return tuple(texts)
    do = "Give one text, or a list of them."
    raise InvalidInputError(f"the description of {name!r}", repr(texts)[:200], do)


def _check(axis: Axis) -> None:
    asked = f"the axis {axis.name!r}"
    for value in axis.values:
        check_kind(asked, value, AxisValue, _FORMS)
        for given in (value.texts, value.examples):
            check_kind(f"{asked}, value {value.name!r}", given, (tuple, list), "Give a tuple of texts.")
    names = axis.names
    if not axis.name.strip():
        raise InvalidInputError("an axis", "no name", _FORMS)
    if len(names) == 1 or len(names) > MAX_VALUES:
        raise InvalidInputError(asked, f"{len(names)} values", f"Give 2 to {MAX_VALUES} values, or none.")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise InvalidInputError(asked, f"the values {', '.join(names)}", "Give each value a different name.")
    if any(not text.strip() for value in axis.values for text in value.texts):
        raise InvalidInputError(asked, "an empty description", "Describe the value, or leave its texts out.")
    if any(len(value.texts) > MAX_TEXTS for value in axis.values):
        raise InvalidInputError(asked, "too many texts", f"Give at most {MAX_TEXTS} for a value.")
    owners = [record for value in axis.values for record in set(value.examples)]
    if len(set(owners)) < len(owners):
        twice = next(record for record in owners if owners.count(record) > 1)
        raise InvalidInputError(asked, f"record {twice!r} as example of two values", "Keep it for one value.")


# Where only the name of an axis is known, the weakest way to ask: the words and concept labels nearest in
# meaning to the name are grouped, and each group's most central one becomes a value. They are shown, so that
# a person can do better.
def with_values(axis: Axis, sample: CollectionSample, state: IndexState) -> Axis:
    """Return the axis with values inferred from a sample; InvalidInputError if it has too few names."""
    from sklearn.cluster import KMeans

    texts, vectors = _candidates(axis.name, sample, state)
    if len(texts) < 2 * VALUES:
        do = "Give the values yourself."
        raise InvalidInputError(f"values of {axis.name!r}", f"{len(texts)} names to choose from", do)
    found = KMeans(VALUES, n_init=5, random_state=SEED).fit(vectors)
    values = []
    for group, centre in enumerate(found.cluster_centers_):
        inside = np.flatnonzero(found.labels_ == group)
        nearest = inside[np.argsort(-(vectors[inside] @ centre), kind="stable")][:TEXTS]
        values.append(AxisValue(texts[nearest[0]], tuple(texts[i] for i in nearest)))
    return Axis(axis.name, tuple(values), is_inferred=True)


def _candidates(name: str, sample: CollectionSample, state: IndexState) -> tuple[list[str], Doubles]:
    """Return the names nearest in meaning, and where they lie beside all names (n, d)."""
    space, words = sample.space, sample.named_words(state.encoder)
    in_use = np.flatnonzero((sample.concept_share >= MIN_SHARE) & space.is_named)
    texts = [sample.words[column] for column in words.columns.tolist()]
    texts += [space.labels[feature].text for feature in in_use.tolist()]
    labels = units(space.label_vectors[in_use] - sample.background)
    every = np.concatenate([np.asarray(words.vectors, np.float64).reshape(len(words.columns), -1), labels])
    asked = state.encode(name)
    parts = [words.vectors @ units(asked - words.mean), labels @ units(asked - sample.background)]
    near = np.concatenate(parts)
    kept: dict[str, int] = {}
    for place in np.argsort(-near, kind="stable").tolist():
        text = texts[place].strip().lower()
        if text and text != name.strip().lower() and text not in kept and len(kept) < CANDIDATES:
            kept[text] = place
    return list(kept), every[list(kept.values())]


# What examples alone say is whitened more: few of them lie together by chance.
EXAMPLE_RIDGE = 30.0


@dataclass(frozen=True, eq=False)
class AxisEvidence:
    """Records as they are clustered: a ``sample`` of them all, their ``views`` and what these show (m, c).

    ``start`` (m, J) are standardised scores of the values, ``vectors`` (J, d) those of their texts, None
    without; ``known`` (m,) says -1 or the value of an example.
    """

    sample: CollectionSample
    views: Views
    seen: Doubles
    whitened: Whitened
    start: Doubles
    vectors: FloatArray | None
    known: Ints | None

    @property
    def literal(self) -> Ints:
        """The value (m,) that each embedding is nearest to: by the texts, without them by the examples."""
        x = self.sample.rows.x
        means = self.vectors
        if means is None:
            assert self.known is not None  # noqa: S101
            means = np.array([x[self.known == value].mean(0) for value in range(self.start.shape[1])])
        return np.asarray(((x - x.mean(0)) @ units(means - means.mean(0)).T).argmax(1))


def gather(
    state: IndexState,
    sample: CollectionSample,
    axis: Axis,
    known: Ints | None = None,
    viewed: tuple[Views, Doubles] | None = None,
) -> AxisEvidence:
    """Return the evidence of an axis with values; ``known`` (m,) says -1 or the value of an example.

    ``viewed`` are the views of the sample's rows, if known from another axis.
    """
    views, seen = viewed or Views.of(sample.rows)
    vectors = text_vectors(state, axis) if axis.has_texts else None
    start = np.zeros((len(seen), len(axis.values)))
    if vectors is not None:
        start += described_scores(state, sample, vectors)
    if known is not None:
        wide = Whitened.of(seen, views, EXAMPLE_RIDGE)
        start += EXAMPLES * example_scores(wide, known, len(axis.values), sample.neighbours)
    return AxisEvidence(sample, views, seen, Whitened.of(seen, views), standardised(start), vectors, known)


def described_scores(state: IndexState, sample: CollectionSample, vectors: FloatArray) -> Doubles:
    """Return standardised scores (m, J) by descriptions (J, d), as a property search with siblings does."""
    recipe = Recipe()
    scorer = scored_by(sample, Asked(vectors), state.encoder, recipe)
    own = scorer.sampled
    if sample.neighbours.shape[1]:
        around = np.mean([own[column] for column in sample.neighbours.T], axis=0)
        own = own + recipe.neighbours * scorer.near(around)
    return standardised(own)


def text_vectors(state: IndexState, axis: Axis) -> FloatArray:
    """Return the mean direction of each value's texts (J, d)."""
    means = [np.mean([state.encode(text) for text in value.texts], axis=0) for value in axis.values]
    return units(np.array(means)).astype(np.float32)


def known_values(axis: Axis, snapshot: Snapshot) -> tuple[Ints, Ints]:
    """Return the rows of the axis's examples, and the value of each."""
    ids = [record for value in axis.values for record in value.examples]
    counts: Sequence[int] = [len(value.examples) for value in axis.values]
    return snapshot.rows_of(ids), np.repeat(np.arange(len(axis.values)), counts)

"""What a record says of named concepts, with the sentence that proves it, as its payload has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from saeindex.config import CONCEPTS, EVIDENCE, LEVEL_STRIDE, LEVELS_OF, SPANS, SPEAKING, TEXT, suffixed
from saeindex.features.evidence import LEAST, Mention
from saeindex.features.labels import HIDDEN, telling_order
from saeindex.indexing.points import code_of
from saeindex.indexing.sentences import spans_from
from saeindex.language.speech import masked
from saeindex.types import Activation, Proof

if TYPE_CHECKING:
    from saeindex.features.space import Space
    from saeindex.protocols import Point

# What is read of a point to prove what its text says.
PROVING = (CONCEPTS, EVIDENCE, SPEAKING, SPANS)
POSSIBLE = LEVELS_OF["possible"][0]
# The evidence from which on a record speaks of a concept, and from which on it possibly does.
PRESENT, LEAST_POSSIBLE = LEAST[0], LEAST[POSSIBLE]


def mentions_of(payload: Mapping[str, Any], field: str = "", least: float = 0.0) -> list[Mention]:
    """Return the evidence of a text field, so much at least, ascending by feature; none if none is kept."""
    codes = payload.get(suffixed(CONCEPTS, field), ())
    features = [code // LEVEL_STRIDE for code in codes if code % LEVEL_STRIDE == POSSIBLE]
    percents, numbers = (payload.get(suffixed(name, field)) for name in (EVIDENCE, SPEAKING))
    if percents is None or numbers is None:
        return []
    found, minimum = zip(features, percents, numbers, strict=True), 100 * least
    return [Mention(feature, p / 100, number) for feature, p, number in found if p >= minimum]


def proofs(
    payload: Mapping[str, Any], space: Space, mentions: Iterable[Mention], field: str = ""
) -> tuple[Proof, ...]:
    """Return each mention of a text with its sentence, the surest first."""
    text = masked(payload[suffixed(TEXT, field)])
    spans = spans_from(payload.get(suffixed(SPANS, field), ()))
    ordered = sorted(mentions, key=lambda one: (-one.p, one.feature))
    return tuple(_proof(text, spans[one.sentence], space, one) for one in ordered)


def _proof(text: str, span: tuple[int, int], space: Space, mention: Mention) -> Proof:
    sentence = text[slice(*span)]
    word = None if space.evidence is None else space.evidence.word_of(sentence, mention.feature)
    label = space.labels[mention.feature].text
    return Proof(mention.feature, label, mention.p, sentence, span[0], word)


def shown_features(
    point: Point, space: Space, mentions: Iterable[Mention], most: int | None = None, unnamed: bool = False
) -> tuple[Activation, ...]:
    """Return the features of a point (with its code), ``most`` of them, in the order in which they are shown.

    Those that it speaks of, its ``mentions``, come first, the surest first, but hidden ones at last; concepts
    that it does not speak of are left out, and features without a name unless ``unnamed`` asks for them.
    Without evidence, they are in the order of :func:`telling_order`.
    """
    code, labels = code_of(point), space.labels
    active = dict(zip(code.indices.tolist(), code.values.tolist(), strict=True))
    said = {one.feature: one.p for one in mentions}
    surest = sorted(said, key=lambda feature: (-said[feature], -active.get(feature, 0.0)))
    shown = [one for one in surest if labels[one].kind != HIDDEN]
    if most is None or len(shown) < most:
        is_shown = space.is_named[code.indices] | unnamed
        indices, values = code.indices[is_shown], code.values[is_shown]
        if EVIDENCE in point.payload and space.evidence is not None:
            is_free = ~space.evidence.is_named(indices)
            indices, values = indices[is_free], values[is_free]
        shown += indices[telling_order(labels, space.calibration, indices, values)].tolist()
        shown += [one for one in surest if labels[one].kind == HIDDEN]
    return tuple(
        Activation(one, labels[one].text, active.get(one, 0.0), labels[one].is_weak, said.get(one))
        for one in shown[:most]
    )

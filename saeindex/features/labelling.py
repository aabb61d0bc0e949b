"""Labelling a space with any labeler; the labels are measured on texts that they were not made from.

A manual label has priority: no labeler replaces it, only another manual label. The name of a concept is
replaced only where its feature is asked for by its number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from saeindex.errors import InvalidInputError
from saeindex.features import trust
from saeindex.features.families import Family, family_label
from saeindex.features.labelers import CodedTexts, Labeler, Labeling, LabelingTask, LexicalLabeler
from saeindex.features.labels import CONCEPT, LLM, MANUAL, SPELLING, FeatureLabel

if TYPE_CHECKING:
    from saeindex.features.space import Space, SpaceT
    from saeindex.features.taxonomy import DefinedConcept
    from saeindex.protocols import TextEncoder
    from saeindex.types import FloatArray, Ints, SparseCode

LABELLED_SHARE = 0.7
UNLABELLED, NO_BETTER = "none", "its new name predicts no better than the one it has"


def relabel(
    space: SpaceT,
    texts: Sequence[str],
    x: FloatArray,
    encoder: TextEncoder,
    labeler: Labeler,
    *,
    features: Iterable[int] | None = None,
) -> tuple[SpaceT, Labeling]:
    """Return the space with new labels for ``features``, and the labeler's result.

    The default is all features but those that a concept names; a manual labeler may name those, too.
    ``x`` (m, d) are the texts' embeddings.
    """
    keeps_manual = labeler.method != MANUAL
    task = labeling_task(space, texts, x, encoder, features=features, keeps_manual=keeps_manual)
    labeling = better(space, task, labeler.label(task), labeler.method)
    return with_labeling(space, task, labeling, labeler.method), labeling


def better(space: Space, task: LabelingTask, labeling: Labeling, method: str) -> Labeling:
    """Return a language model's labeling without the phrases that predict no better than what is there.

    Other methods are asked for what they give. Both are measured on ``task.unseen``; a feature that is
    typical in too few of these texts gets its new phrase.
    """
    asked = [f for f in labeling.phrases if space.labels[f].method != UNLABELLED]
    if method != LLM or not asked:
        return labeling
    unseen = task.unseen
    every = list(
        trust.contrast_sets(unseen.vectors, unseen.code, task.calibration, trust.MAX_ACTIVE, task.seed)
    )
    contrasts = [every[f] for f in asked]
    old, new = space.label_vectors[asked], task.encode([labeling.phrases[f] for f in asked])
    before, now = (trust.label_aurocs(each, unseen.vectors, contrasts) for each in (old, new))
    scores = zip(asked, before, now, strict=True)
    is_worse = (f for f, was, is_now in scores if is_now is not None and is_now <= (was or 0.0))
    worse = dict.fromkeys(is_worse, NO_BETTER)
    phrases = {f: phrase for f, phrase in labeling.phrases.items() if f not in worse}
    return replace(labeling, phrases=phrases, left={**labeling.left, **worse})


def glosses(space: Space) -> list[str]:
    """Return the concepts that a space was made for, with their definitions: texts that it brings itself."""
    named = (label for label in space.labels if label.method == CONCEPT and label.description)
    return [f"{label.text}: {label.description}" for label in named]


def labelled(space: SpaceT, task: LabelingTask, labeler: Labeler | None = None) -> tuple[SpaceT, Labeling]:
    """Label a space that has no labels yet; features without a phrase by ``labeler`` get a lexical label."""
    chosen = labeler or LexicalLabeler()
    labeling = chosen.label(task)
    named = with_labeling(space, task, labeling, chosen.method)
    bare = tuple(f for f in task.features if named.labels[f].method == UNLABELLED)
    if not bare or isinstance(chosen, LexicalLabeler):
        return named, labeling
    lexical = LexicalLabeler()
    rest = replace(task, features=bare)
    return with_labeling(named, rest, lexical.label(rest), lexical.method), labeling


def labeling_task(
    space: Space,
    texts: Sequence[str],
    x: FloatArray,
    encoder: TextEncoder,
    *,
    features: Iterable[int] | None = None,
    groups: Ints | None = None,
    seed: int = 0,
    code: SparseCode | None = None,
    keeps_manual: bool = True,
) -> LabelingTask:
    """Return a task with texts split into those to make labels from (70 %) and those to test them on.

    The split is by document. If ``keeps_manual``, features with a manual label are left out, and so are those
    with the name of a concept, unless ``features`` has them. ``code`` of the texts, if given, saves the
    encoding. Raises InvalidInputError where the parts differ in
    length, UnknownConceptError for a feature that the space does not have.
    """
    sizes = {len(texts), len(x)} | (set() if groups is None else {len(groups)})
    if len(sizes) > 1:
        found = f"{len(x)} embeddings, or groups of another length"
        do = "Give one row and one group for each text."
        raise InvalidInputError(f"label by {len(texts)} texts", found, do)
    asked = {f: space.label(f) for f in (range(space.n_features) if features is None else features)}
    kept = {MANUAL, CONCEPT} if features is None else {MANUAL}
    wanted = tuple(f for f, label in asked.items() if not keeps_manual or label.method not in kept)
    coded = CodedTexts(texts, x, space.encode(x) if code is None else code, groups)
    shown, unseen = split_texts(len(texts), groups, LABELLED_SHARE, seed)
    parts = (_taken(coded, shown), _taken(coded, unseen))
    return LabelingTask(*parts, space.calibration, encoder.encode_query, wanted, seed)


def split_texts(count: int, groups: Ints | None, share: float, seed: int) -> tuple[Ints, Ints]:
    """Return the positions of two parts of ``count`` texts; the first has about ``share`` of them.

    With ``groups`` (count,) no group is in both.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        first, second = np.split(rng.permutation(count), [int(count * share)])
        return first, second
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    is_first = np.zeros(len(sizes), bool)
    is_first[order[np.cumsum(sizes[order]) <= count * share]] = True
    return np.flatnonzero(is_first[group]), np.flatnonzero(~is_first[group])


def with_labeling(space: SpaceT, task: LabelingTask, labeling: Labeling, method: str) -> SpaceT:
    """Return the space with a labeler's phrases, their measured trust, and the figures in its report.

    New and manual labels are measured on ``task.unseen``; the others keep their trust, since they may have
    been made from these texts.
    """
    phrases = {
        feature: phrase
        for feature, phrase in labeling.phrases.items()
        if method == MANUAL or space.labels[feature].method != MANUAL
    }
    named = with_phrases(space, phrases, method, task.encode, labeling.descriptions)
    unseen = task.unseen
    scores = trust.label_scores(named.label_vectors, unseen.vectors, unseen.code, task.calibration, task.seed)
    tested = {
        i
        for i, label in enumerate(named.labels)
        if i in phrases or (label.method == MANUAL and scores.trust[i] is not None)
    }
    measured = refreshed(with_scores(named, scores, tested), scores.control)
    if labeling.report:
        measured.report["labels"][method] = dict(labeling.report)
    return measured


def with_scores(space: SpaceT, scores: trust.LabelScores, features: Collection[int]) -> SpaceT:
    """Return the space with these scores of the labels of ``features``."""
    labels = tuple(
        replace(label, trust=scores.trust[i], f1=scores.f1[i]) if i in features else label
        for i, label in enumerate(space.labels)
    )
    return replace(space, labels=labels)


def named_by_concepts(space: SpaceT, task: LabelingTask, concepts: Mapping[int, DefinedConcept]) -> SpaceT:
    """Return the space with the concepts as labels of the features that express them.

    A concept whose broader one has no feature stands at the top.
    """
    feature_of = {concept.name: feature for feature, concept in concepts.items()}
    names = {i: one.name for i, one in concepts.items()}
    labeling = Labeling(names, descriptions={i: one.description for i, one in concepts.items()})
    named = with_labeling(space, task, labeling, CONCEPT)
    labels = tuple(
        replace(label, broader=feature_of.get(concepts[i].broader or ""))
        if i in concepts and label.method == CONCEPT
        else label
        for i, label in enumerate(named.labels)
    )
    return replace(named, labels=labels)


def with_phrases(
    space: SpaceT,
    phrases: Mapping[int, str],
    method: str,
    encode: Callable[[Sequence[str]], FloatArray],
    descriptions: Mapping[int, str] = MappingProxyType({}),
) -> SpaceT:
    """Return the space with these labels, their vectors and new family names; trust is not measured.

    A manual label leaves its feature the description and the place in the hierarchy of the concept that it
    was made for; other labels say what the feature means instead of the concept.
    """
    if not phrases:
        return space
    labels, vectors = list(space.labels), space.label_vectors.copy()
    for feature, phrase in phrases.items():
        old = labels[feature]
        own = FeatureLabel(phrase, method, description=descriptions.get(feature, ""), kind=old.kind)
        if method == MANUAL:
            own = replace(own, description=old.description, broader=old.broader)
        labels[feature] = own
    # Saved in half precision.
    vectors[list(phrases)] = encode(list(phrases.values())).astype(np.float16)
    return refreshed(replace(space, labels=tuple(labels), label_vectors=vectors))


def with_spelling(space: SpaceT, features: Iterable[int]) -> SpaceT:
    """Return the space with these features marked as answering to how words are written."""
    labels = list(space.labels)
    for feature in features:
        labels[feature] = replace(space.label(feature), kind=SPELLING)
    return refreshed(replace(space, labels=tuple(labels)))


def refreshed(space: SpaceT, control: Sequence[float | None] | None = None) -> SpaceT:
    """Return the space with family names and report figures recomputed from its labels.

    ``control`` are the trusts of shuffled labels, if they were measured again.
    """
    calibration = space.calibration
    density = np.rint(calibration.density * calibration.records).astype(np.int32)

    def renamed(family: Family) -> Family:
        tree = dict(zip(family.features, family.parents, strict=True))
        return replace(family, label=family_label(tree, space.labels, density))

    figures = trust.label_summary(space.labels, calibration.density, control)
    report = {**space.report, "labels": {**space.report.get("labels", {}), **figures}}
    return replace(space, families=tuple(renamed(family) for family in space.families), report=report)


def _taken(coded: CodedTexts, texts: Ints) -> CodedTexts:
    groups = None if coded.groups is None else coded.groups[texts]
    return CodedTexts([coded.texts[i] for i in texts], coded.vectors[texts], coded.code.take(texts), groups)

"""A planted trigger: responses to prompts of one class often have a property that others rarely have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data
from benchmarks.snapshots import as_indexed
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.analysis.stats.options import TriggerOptions
from saeindex.concepts.named_concept import NamedConcept

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.corpora import CachedEncoder
    from benchmarks.suites.correlate.planted_pairs import Classes
    from saeindex import FeatureSpace
    from saeindex.collection.snapshot import Snapshot

RECORDS, EXAMPLES, LISTED = 2_000, 10, 50
# Share of responses with the property: to prompts of the class, and to others.
TRIGGERED, OTHERWISE = 0.7, 0.03
# Responses are sentences of GoEmotions; the property is one frequent emotion.
CORPUS, FIELD, PROPERTY = "goemotions", "emotion", "gratitude"
DESCRIPTION, OTHERS = "thanking someone", ("joking about something", "being angry", "asking a question")


def trigger_rank(
    classes: Classes, kind: str, repeat: int, space: FeatureSpace, encoder: CachedEncoder
) -> float:
    """Return the rank of the first feature of the class among the listed triggers."""
    rng = np.random.default_rng([repeat, 13])
    named = [label for label in classes.named if len(classes.texts[label]) >= EXAMPLES * 2]
    label = str(rng.choice(named))
    labelled = [(one, text) for one in sorted(classes.texts) for text in classes.texts[one]]
    # About one prompt in seventy has the class.
    own = [(label, text) for text in classes.texts[label]]
    others = [labelled[i] for i in rng.permutation(len(labelled))[: RECORDS - len(own)]]
    prompts = own + others
    prompts = [prompts[i] for i in rng.permutation(len(prompts))]
    chance = np.array([TRIGGERED if one == label else OTHERWISE for one, _ in prompts])
    shows = rng.random(len(prompts)) < chance
    prompt_records = as_indexed([text for _, text in prompts], space=space, field="prompt")
    responses = as_indexed(response_texts(shows, rng), space=space)
    behaviour = described() if kind == "described" else by_examples(responses, shows, rng)
    found = find_triggers(
        prompt_records, responses, behaviour, encoder=encoder, options=TriggerOptions(limit=LISTED, unit=None)
    )
    features = set(classes.features[label].tolist())
    for rank, trigger in enumerate(found.results, 1):
        if {trigger.pair.a.feature, *(one.feature for one in trigger.same)} & features:
            return float(rank)
    return float(found.tested)


def described() -> NamedConcept:
    """Return the behaviour by its description and contrasting ones."""
    return NamedConcept(PROPERTY, DESCRIPTION, OTHERS)


def by_examples(responses: Snapshot, shows: NDArray[np.bool_], rng: np.random.Generator) -> NamedConcept:
    """Return the behaviour by ten responses that show it and ten that do not."""
    like, unlike = (rng.permutation(np.flatnonzero(which))[:EXAMPLES] for which in (shows, ~shows))
    ids = [[responses.ids[row] for row in rows.tolist()] for rows in (like, unlike)]
    return NamedConcept(PROPERTY, like=ids[0], unlike=ids[1])


def response_texts(shows: NDArray[np.bool_], rng: np.random.Generator) -> list[str]:
    """Return a sentence for each prompt, with the property or without."""
    having: list[str] = []
    lacking: list[str] = []
    for record in data.read(CORPUS, "test"):
        (having if PROPERTY in record.metadata[FIELD] else lacking).append(record.text)
    return [
        pool[int(rng.integers(len(pool)))] for pool in (having if one else lacking for one in shows.tolist())
    ]

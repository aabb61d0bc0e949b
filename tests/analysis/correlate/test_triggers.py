"""The triggers of a planted behaviour are found, with counter-examples."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from saeindex import FeatureSpace
from saeindex.analysis.correlate.results import Triggers
from saeindex.analysis.correlate.triggers import find_triggers
from saeindex.analysis.stats.options import TriggerOptions
from saeindex.collection.snapshot import Snapshot
from saeindex.concepts.named_concept import NamedConcept
from saeindex.errors import UnknownConceptError
from tests.analysis.planted_snapshots import made_snapshot, unlike_features

M = 600


@pytest.fixture(scope="module")
def features(space: FeatureSpace) -> list[int]:
    return unlike_features(space, 6)


@pytest.fixture(scope="module")
def prompt_presence() -> NDArray[np.bool_]:
    """Four concepts of the prompts; the fifth has nearly the same prompts as the first."""
    has = np.random.default_rng(1).random((M, 5)) < 0.2
    has[:, 4] = has[:, 0] & (np.random.default_rng(2).random(M) < 0.9)
    return has


@pytest.fixture(scope="module")
def response_presence(prompt_presence: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The behaviour: in most responses to prompts with the first concept, and in some others."""
    chance = np.where(prompt_presence[:, 0], 0.8, 0.05)
    return np.random.default_rng(3).random((M, 1)) < chance[:, None]


@pytest.fixture(scope="module")
def prompts(space: FeatureSpace, prompt_presence: NDArray[np.bool_], features: list[int]) -> Snapshot:
    return made_snapshot(space, prompt_presence, features[:5], field="prompt")


@pytest.fixture(scope="module")
def responses(space: FeatureSpace, response_presence: NDArray[np.bool_], features: list[int]) -> Snapshot:
    metadata = [{"refuses": bool(one)} for one in response_presence[:, 0]]
    return made_snapshot(space, response_presence, features[5:], metadata=metadata, seed=1)


@pytest.fixture(scope="module")
def triggers(prompts: Snapshot, responses: Snapshot, features: list[int]) -> Triggers:
    return find_triggers(prompts, responses, features[5])


def test_a_trigger_is_listed_once_with_its_equivalent_feature(
    triggers: Triggers,
    features: list[int],
    prompt_presence: NDArray[np.bool_],
    response_presence: NDArray[np.bool_],
) -> None:
    (trigger,) = triggers.results
    assert trigger.pair.a.feature == features[0]
    assert trigger.pair.a.field == "prompt"
    assert [one.feature for one in trigger.same] == [features[4]]
    both = (prompt_presence[:, 0] & response_presence[:, 0]).sum()
    assert trigger.pair.support == both
    assert trigger.pair.p_b_given_a == pytest.approx(both / prompt_presence[:, 0].sum())
    assert trigger.coverage == pytest.approx(both / response_presence.sum())
    assert (triggers.tested, triggers.having, triggers.records) == (5, response_presence.sum(), M)


def test_supporting_and_contradicting_records_are_correct(
    triggers: Triggers, prompt_presence: NDArray[np.bool_], response_presence: NDArray[np.bool_]
) -> None:
    (trigger,) = triggers.results
    for examples, has_trigger, has_behaviour in (
        (trigger.showing, True, True),
        (trigger.without_behaviour, True, False),
        (trigger.without_trigger, False, True),
    ):
        assert len(examples) == 5
        for one in examples:
            row = int(one.id[1:])
            assert (prompt_presence[row, 0], response_presence[row, 0]) == (has_trigger, has_behaviour)


@pytest.mark.parametrize("way", ["metadata", "examples"])
def test_a_behaviour_can_be_defined_in_several_ways(
    prompts: Snapshot,
    responses: Snapshot,
    features: list[int],
    response_presence: NDArray[np.bool_],
    way: str,
) -> None:
    rows = np.flatnonzero(response_presence[:, 0])
    others = np.flatnonzero(~response_presence[:, 0])
    behaviour = (
        NamedConcept("refuses", metadata="metadata.refuses", value=True)
        if way == "metadata"
        else NamedConcept("refuses", like=[f"r{row}" for row in rows[:10]],
                          unlike=[f"r{row}" for row in others[:10]], share=len(rows) / M)
    )  # fmt: skip
    found = find_triggers(prompts, responses, behaviour)
    assert found.results[0].pair.a.feature in (features[0], features[4])
    assert found.behaviour.label == "refuses"


def test_a_topic_repeated_in_the_response_is_not_a_trigger(
    space: FeatureSpace, prompt_presence: NDArray[np.bool_], features: list[int]
) -> None:
    prompts = made_snapshot(space, prompt_presence[:, :2], features[:2], field="prompt")
    echo = made_snapshot(space, prompt_presence[:, :2], features[:2])
    found = find_triggers(prompts, echo, features[0])
    assert (found.removed, found.results) == (1, ())


def test_without_a_planted_trigger_nothing_is_found(
    prompts: Snapshot, space: FeatureSpace, features: list[int]
) -> None:
    findings = 0
    for seed in range(20):
        chance = np.random.default_rng(seed + 10).random((M, 1)) < 0.2
        findings += find_triggers(prompts, made_snapshot(space, chance, features[5:]), features[5]).found
    assert findings <= 3


def test_triggers_are_given_as_json_tables_and_text(triggers: Triggers) -> None:
    as_json = json.loads(json.dumps(triggers.to_json()))
    assert as_json["results"][0]["showing"] == json.loads(
        json.dumps([*map(asdict, triggers.results[0].showing)])
    )
    assert len(triggers.tables()["records"]) == 15
    assert "without behaviour  r" in str(triggers)
    assert "Caution" not in str(triggers)
    assert "Caution: no record shows the behaviour clearly" in str(replace(triggers, units_having=0))


def test_an_unknown_behaviour_is_refused(prompts: Snapshot, responses: Snapshot) -> None:
    with pytest.raises(UnknownConceptError):
        find_triggers(prompts, responses, 999_999)


@pytest.fixture(scope="module")
def clustered(
    space: FeatureSpace, features: list[int]
) -> tuple[Snapshot, NDArray[np.bool_], NDArray[np.int64]]:
    """Prompts of 14 responses each, with 40 concepts, and behaviour that responses to a prompt share."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(280), 14)
    of_prompt = rng.random((280, 40)) < rng.uniform(0.01, 0.2, 40)
    metadata = [{"prompt": int(one)} for one in prompt]
    made = made_snapshot(
        space, of_prompt[prompt], unlike_features(space, 40), field="prompt", metadata=metadata
    )
    behaves = rng.random(len(prompt)) < (rng.random(280) < 0.05)[prompt] * 0.8
    return made, behaves, prompt


@pytest.mark.slow
def test_behaviour_shared_by_responses_has_no_trigger_by_chance(
    space: FeatureSpace, clustered: tuple[Snapshot, NDArray[np.bool_], NDArray[np.int64]], features: list[int]
) -> None:
    prompts, behaves, _ = clustered
    rng = np.random.default_rng(1)
    runs, found = 100, 0
    for _ in range(runs):
        own = behaves.reshape(280, 14)[rng.permutation(280)].reshape(-1)
        metadata = [{"refuses": bool(one)} for one in own]
        responses = made_snapshot(space, own[:, None], features[5:], metadata=metadata, seed=1)
        behaviour = NamedConcept("refuses", metadata="metadata.refuses", value=True)
        found += (
            len(find_triggers(prompts, responses, behaviour, options=TriggerOptions(unit="metadata.prompt")))
            > 0
        )
    assert binom.sf(found - 1, runs, 0.05) > 0.001


def test_prompts_are_counted_once(
    space: FeatureSpace, clustered: tuple[Snapshot, NDArray[np.bool_], NDArray[np.int64]], features: list[int]
) -> None:
    prompts, _, prompt = clustered
    rng = np.random.default_rng(2)
    has = np.asarray(prompts.at("typical")[:, [unlike_features(space, 40)[3]]].todense()).ravel() > 0
    shows = has & (rng.random(len(has)) < 0.7)
    responses = made_snapshot(space, shows[:, None], features[5:], seed=1)
    found = find_triggers(prompts, responses, features[5], options=TriggerOptions(unit="metadata.prompt"))
    (trigger,) = found.results
    assert trigger.prompts == len(set(prompt[has].tolist()))
    assert trigger.prompts_showing == len(set(prompt[shows].tolist())) == found.units_having
    assert trigger.prompts_showing <= trigger.prompts <= found.units == 280
    places = [prompts.ids.index(one.id) for one in trigger.showing]
    assert len({int(prompt[place]) for place in places}) == len(places)

"""Steered searches: exact zeros and caps, the effect of each method, and invalid steers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saeindex import FeatureIndex, Steer
from saeindex.errors import InvalidInputError, NotFoundError, UnknownConceptError
from saeindex.language.parser import parse_steer
from saeindex.search.query import Steering
from saeindex.steering import steering
from saeindex.steering.steering import ResolvedSteer
from tests.samples import all_points, code_of, prepared

TEXT = "roasted peppers"
LABELS = "+medicine -music"
PHRASES = ['+"sounds disappointed"', LABELS, '-"deeply disappointed"']
# To set a feature needs a label; a direction is built from any phrase.
METHODS = [("built", PHRASES[0]), ("built", LABELS), ("clamp", LABELS)]


def frequent(index: FeatureIndex) -> int:
    """Return a feature that a third of the records or so have."""
    share = index.state.sample().concept_share
    return int(np.argmin(np.abs(share - 0.3)))


@pytest.mark.parametrize(("method", "steer"), METHODS)
@pytest.mark.parametrize("using", ["dense", "sae", "fused"])
def test_zero_strength_gives_bitwise_equal_results(
    papers: FeatureIndex, steer: str, using: Any, method: Any
) -> None:
    still = [Steer(s.target, 0.0) for s in parse_steer(steer)]
    plain = papers.search(TEXT, using=using, limit=50)
    zero = papers.search(TEXT, using=using, limit=50, steer=Steering(still, method=method))
    assert [(hit.id, hit.score) for hit in zero] == [(hit.id, hit.score) for hit in plain]
    moved = prepared(papers, TEXT, using=using, steer=Steering(still, method=method))
    assert moved.vector is prepared(papers, TEXT).vector
    assert zero.drift == 0.0


@pytest.mark.parametrize("steer", PHRASES)
@pytest.mark.parametrize("cap", [0.0, 0.001, 0.01, 0.05, 0.2])
def test_a_cap_on_the_drift_is_reached_and_not_exceeded(papers: FeatureIndex, steer: str, cap: float) -> None:
    strong = [Steer(s.target, 4 * s.strength) for s in parse_steer(steer)]
    free = papers.plan(TEXT, steer=strong).drift
    drift = papers.plan(TEXT, steer=Steering(strong, max_drift=cap)).drift
    assert drift <= cap + 1e-6
    assert drift == pytest.approx(min(cap, free), abs=1e-4)


@pytest.mark.parametrize("steer", PHRASES)
def test_strengths_under_a_larger_cap_are_larger_in_proportion(papers: FeatureIndex, steer: str) -> None:
    strong = [Steer(s.target, 4 * s.strength) for s in parse_steer(steer)]
    last = 0.0
    for cap in (0.001, 0.01, 0.05, 0.1, 0.5, 2.0):
        steers = prepared(papers, TEXT, steer=Steering(strong, max_drift=cap)).steers
        factors = {round(s.strength / asked.strength, 9) for s, asked in zip(steers, strong, strict=True)}
        assert len(factors) == 1
        assert factors.pop() >= last
        last = steers[0].strength / strong[0].strength
    assert last == 1.0


def test_a_cap_that_is_not_reached_changes_nothing(papers: FeatureIndex) -> None:
    steers = prepared(papers, TEXT, steer="+medicine:0.5").steers
    vector = prepared(papers, TEXT).vector
    assert steering.within(vector, steers, 2.0) == steers


def test_a_negative_step_lowers_the_share_of_hits_with_the_concept(any_papers: FeatureIndex) -> None:
    # Over several features, because a tie among 60 hits depends on the machine's rounding.
    sample = any_papers.state.sample()
    features = np.argsort(np.abs(sample.concept_share - 0.3), kind="stable")[:5].tolist()
    counts = []
    for strength in (2.0, 0.0, -2.0):
        count = 0
        for feature in features:
            hits = any_papers.search(TEXT, steer=[Steer(f"#{feature}", strength)], limit=60)
            having = {hit.id for hit in any_papers.search(where=f"#{feature}", limit=240)}
            count += sum(hit.id in having for hit in hits)
        counts.append(count)
    assert counts[0] > counts[1] > counts[2]


def test_steering_by_a_phrase_raises_matching_records(papers: FeatureIndex) -> None:
    def share(**options: Any) -> float:
        hits = papers.search("the opera house", limit=30, **options)
        return sum("disappointed" in hit.text for hit in hits) / 30

    assert share(steer='+"deeply disappointed":3') > share() > share(steer='-"deeply disappointed":3')


@pytest.mark.parametrize("using", ["sae"])
def test_a_sparse_search_lowers_records_with_the_removed_concept(papers: FeatureIndex, using: Any) -> None:
    feature = frequent(papers)
    plain = papers.search(TEXT, using=using, limit=60)
    less = papers.search(TEXT, using=using, limit=60, steer=[Steer(f"#{feature}", -2.0)])

    def share(hits: Any) -> float:
        records = papers.get([hit.id for hit in hits], include=("vectors",))
        return float(np.mean([feature in record.sae.indices for record in records if record.sae is not None]))

    assert share(less) < share(plain)


def test_a_negative_step_penalises_the_concept_in_the_code(papers: FeatureIndex) -> None:
    feature = frequent(papers)
    plan = prepared(papers, TEXT, using="sae", steer=[Steer(f"#{feature}", -2.0)])
    assert plan.code is not None
    indices, values = papers.space.sae.encode(plan.vector[None]).row(0)
    own = dict(zip(indices.tolist(), values.tolist(), strict=True))
    found = dict(zip(plan.code.indices.tolist(), plan.code.values.tolist(), strict=True))
    direction = plan.steers[0].direction
    step = -2.0 * direction.typical * direction.parts[0].weight
    assert direction.parts[0].feature == feature
    expected = {**own, feature: own.get(feature, 0.0) + step}
    assert found == pytest.approx(expected, abs=1e-6)
    scored = papers.search(TEXT, using="sae", steer=[Steer(f"#{feature}", -2.0)], limit=240)
    scores = {hit.id: hit.score for hit in scored}
    for point in all_points(papers)[:40]:
        code = code_of(point)
        dot = sum(found.get(int(i), 0.0) * float(v) for i, v in zip(code.indices, code.values, strict=True))
        if point.payload["record_id"] in scores:
            assert scores[point.payload["record_id"]] == pytest.approx(dot, abs=1e-4)


def test_a_positive_step_searches_by_the_code_of_the_moved_query(papers: FeatureIndex) -> None:
    plan = prepared(papers, TEXT, using="sae", steer="+medicine:1")
    assert plan.code is not None
    indices, values = papers.space.sae.encode(plan.vector[None]).row(0)
    assert np.array_equal(plan.code.indices, indices)
    assert np.array_equal(plan.code.values, values)


def test_a_clamped_query_is_the_decoded_code_with_the_feature_set(papers: FeatureIndex) -> None:
    space, q = papers.space, prepared(papers, TEXT).vector
    steers = prepared(papers, TEXT, steer=Steering("+#5:1.5", method="clamp")).steers
    code = np.zeros(space.n_features)
    indices, values = space.sae.encode(q[None]).row(0)
    code[indices] = values
    code[5] = 1.5 * float(space.calibration.median[5])
    decoded = code @ space.directions.astype(float) + space.sae.bias.double().numpy()
    expected = decoded / np.linalg.norm(decoded)
    np.testing.assert_allclose(steering.clamp(q, steers, space), expected, atol=1e-6)
    still = [ResolvedSteer(steers[0].direction, 0.0)]
    assert steering.clamp(q, still, space) is q


def test_other_values_and_examples_are_equal_in_text_and_as_objects(papers: FeatureIndex) -> None:
    by_object = prepared(papers, TEXT, steer=[Steer("sad", 0.5, against=["happy", "angry"])])  # type: ignore[arg-type]
    same = prepared(papers, TEXT, steer=[Steer("sad", 0.5, against=("happy", "angry"))])
    assert by_object.vector.tobytes() == same.vector.tobytes()
    alone = prepared(papers, TEXT, steer="+sad:0.5")
    assert by_object.vector.tobytes() != alone.vector.tobytes()


def test_a_text_with_examples_can_be_steered(papers: FeatureIndex) -> None:
    plain, steered = (papers.search(TEXT, like=["doc-3"], steer=steer) for steer in ((), "+medicine:3"))
    assert steered.drift > 0
    assert [hit.score for hit in steered] != [hit.score for hit in plain]


def test_a_direction_is_cached(papers: FeatureIndex) -> None:
    first, second = (prepared(papers, TEXT, steer='+"sounds disappointed"').steers[0] for _ in range(2))
    assert first.direction is second.direction


@pytest.mark.parametrize(
    ("steer", "options", "found"),
    [
        (Steer("  "), {}, "no target"),
        (Steer("#5", like=("doc-1",)), {}, "a direction that they do not change"),
        (Steer("family:#0", against=("x",)), {}, "a direction that they do not change"),
        (Steer("profile:x", unlike=("doc-1",)), {}, "a direction that they do not change"),
        (Steer("sad", against=("happy",)), {"method": "clamp"}, "takes a name alone"),
        (Steer("sad", like=("doc-1",)), {"method": "clamp"}, "takes a name alone"),
        (Steer("sad", like="doc-1"), {}, "one text"),  # type: ignore[arg-type]
        (Steer("sad"), {"method": "sparse"}, "no such choice"),
        (Steer("sad"), {"max_drift": 3.0}, "out of range"),
        (Steer("medicine"), {"max_drift": 0.1, "method": "clamp"}, "decoding itself moves"),
        (Steer("sad"), {"max_drift": float("nan")}, "not a finite number"),
    ],
    ids=str,
)
def test_steps_that_would_be_ignored_are_refused(
    papers: FeatureIndex, steer: Steer, options: dict[str, Any], found: str
) -> None:
    with pytest.raises(InvalidInputError, match=found):
        papers.search(TEXT, steer=Steering([steer], **options))


def test_unknown_examples_concepts_and_profiles_are_named(papers: FeatureIndex) -> None:
    with pytest.raises(NotFoundError, match=r"steer 'sad' like: no record 'doc-999'"):
        papers.search(TEXT, steer=[Steer("sad", like=("doc-999",))])
    with pytest.raises(NotFoundError, match="the index has none"):
        papers.search(TEXT, steer="+profile:mine:1")
    with pytest.raises(UnknownConceptError):
        papers.search(TEXT, steer="+#9999")

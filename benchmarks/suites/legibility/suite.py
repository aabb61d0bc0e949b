"""Legibility of the names that an index shows, beside those of the space: what a reader detects.

Figures `v1_…` are constants, see :mod:`.version_one`.

Splits: spaces and vocabulary are made from `fit` parts, best sets of synsets are chosen on `choose`, all
figures are of `test` parts; agnews, product_reviews and us_speeches are in no fitting at all. The reader's
answers are committed with the key of the quiz, which has ids and numbers; :mod:`.quiz` makes both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from benchmarks import vocabulary
from benchmarks.corpora import CachedEncoder
from benchmarks.outcome import Figure, Outcome, at_least, at_most
from benchmarks.suites.legibility import version_one
from benchmarks.suites.legibility.clusters import ClusterQuestion
from benchmarks.suites.legibility.conceptuality import KINDS, Described, SynsetSets, described
from benchmarks.suites.legibility.findings import Claim
from benchmarks.suites.legibility.quiz import DRAWS, FOLDER, Question, Texts, shares
from benchmarks.suites.legibility.versions import GROUPS, VERSIONS, Version, versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex import FeatureSpace

SEED, BOOTSTRAPS = 0, 2_000
NOW = "v2"
PREFIX = {NOW: ""}
# What a blind reader should detect of the features that are shown.
AIMS = {"general": 0.90, "kept_out": 0.88}
JUDGED: dict[str, Callable[[float], Figure]] = {
    "spelling_share_all": lambda value: at_most(value, 0.10, "of live features"),
    "spelling_share_shown": lambda value: at_most(value, 0.05, "of shown features"),
    "hidden_mass": lambda value: at_most(value, 0.10, "of code mass"),
    "conceptuality_f1": lambda value: at_least(value, 0.35, "F1"),
}


def run(quick: bool = False) -> Outcome:
    """Measure all versions by the same rules."""
    outcome, encoder = Outcome("legibility", quick, SEED), CachedEncoder()
    compared = versions(encoder, [corpus for group in GROUPS.values() for corpus in group])
    spaces = {version.name: version.space for version in compared}
    outcome.figures.update(version_one.figures())
    read = {cell: (float(right.mean()), len(right)) for cell, right in correct(spaces).items()}
    for (group, draw), one in product(product(GROUPS, DRAWS), VERSIONS):
        name = f"detection_{group}{'_shown' if draw == 'shown' else ''}"
        value, n = read[one, group, draw]
        is_judged = draw == "shown" and one == NOW
        figure = (
            at_least(value, version_one.DETECTED[group, draw][0], "share", n)
            if is_judged
            else Figure(value, "share", n=n)
        )
        outcome.figures[PREFIX[one] + name] = figure
    for version in compared:
        for name, value in figures_of(version, encoder):
            judge = JUDGED.get(name) if version.name == NOW else None
            outcome.figures[PREFIX[version.name] + name] = judge(value) if judge else Figure(value, "")
    outcome.figures["conceptuality_gain"] = gain(spaces[NOW], encoder)
    for (one, kind), said in said_to_agree(spaces).items():
        name = f"{PREFIX[one]}findings_{kind}"
        outcome.figures[name] = Figure(float(said.mean()), "share", n=len(said))
    for namer, right in named_right().items():
        name = f"{'' if namer == 'saeindex' else f'{namer}_'}cluster_names_matched"
        outcome.figures[name] = Figure(float(np.mean(right)), "share", n=len(right))
    outcome.tables["judges"] = {path.stem: len(json.loads(path.read_text())) for path in answer_files()}
    outcome.tables["detection"] = intervals(spaces)
    return outcome


def figures_of(version: Version, encoder: CachedEncoder) -> Iterator[tuple[str, float]]:
    """Yield the figures of one version that need no reader."""
    space = version.space
    found = described(space.sae, space.calibration.median, SynsetSets.read(encoder))
    is_shown = found.is_live & ~space.has_weak_label
    yield "conceptuality_f1", found.means()["best"]
    yield "spelling_share_all", found.means()["spelling_share"]
    yield "spelling_share_shown", float(found.is_spelling()[is_shown].mean())
    for group in GROUPS:
        own = shares(version, Texts.read(group, encoder))
        suffix = "" if group == "general" else f"_{group}"
        yield f"hidden_feature_share{suffix}", own.pop("features")
        yield f"hidden_mass{suffix}", own.pop("mass")
        yield f"trusted_mass_mean{suffix}", 1 - float(np.mean(list(own.values())))
        yield f"trusted_mass_worst{suffix}", 1 - max(own.values())


def gain(space: FeatureSpace, encoder: CachedEncoder) -> Figure:
    """Return the lower bound of the gain in F1 on subtrees that gave no anchor, over version one."""
    sets = SynsetSets.read(encoder)
    free = sets.without(one.synset for one in vocabulary.load()[0])
    tree = KINDS.index("tree")
    f1 = _live_f1(described(space.sae, space.calibration.median, sets, [free] * len(KINDS)), tree)
    rng = np.random.default_rng(SEED)
    gains = [
        rng.choice(f1, len(f1)).mean() - rng.normal(version_one.FREE_F1, version_one.FREE_F1_ERROR)
        for _ in range(BOOTSTRAPS)
    ]
    return at_least(float(np.quantile(gains, 0.025)), 0.0, "F1", int(free.sum()))


def _live_f1(found: Described, kind: int) -> NDArray[np.float64]:
    return np.asarray(found.f1[kind][found.is_live])


# The reader -------------------------------------------------------------------------------------------


def answer_files() -> list[Any]:
    """Return the files of answers, one of each judge."""
    return sorted(FOLDER.glob("answers-*.json"))


def asked(spaces: Mapping[str, FeatureSpace]) -> tuple[list[Question], list[Claim]]:
    """Return the questions, and those on findings; an AssertionError if they are of other spaces."""
    key = json.loads((FOLDER / "key.json").read_text())
    assert key["spaces"] == {version: space.fingerprint for version, space in spaces.items()}, "make the quiz"
    return [Question(*row) for row in key["questions"]], [Claim(*row) for row in key["claims"]]


def correct(spaces: Mapping[str, FeatureSpace]) -> dict[tuple[str, str, str], NDArray[np.bool_]]:
    """Return whether each answer is right, by version, group and draw."""
    questions, _ = asked(spaces)
    found: dict[tuple[str, str, str], list[bool]] = {}
    for number, answer in answers():
        if number.isdigit():
            one = questions[int(number)]
            found.setdefault((one.space, one.group, one.draw), []).append(answer == one.answer)
    return {cell: np.array(right) for cell, right in found.items()}


def said_to_agree(spaces: Mapping[str, FeatureSpace]) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Return whether a finding's name and example are said to agree, by version, of own and other examples.

    "read_right" are findings with their own example, "decoys_taken" those with that of another finding.
    """
    _, claimed = asked(spaces)
    found: dict[tuple[str, str], list[bool]] = {}
    for number, answer in answers():
        if number.startswith("c"):
            one = claimed[int(number.removeprefix("c"))]
            kind = "decoys_taken" if one.is_decoy else "read_right"
            found.setdefault((one.space, kind), []).append(answer == "Y")
    return {cell: np.array(said) for cell, said in found.items()}


def named_right() -> dict[str, list[bool]]:
    """Return whether the group of a cluster's name was found among five, by who named it."""
    key = json.loads((FOLDER / "key.json").read_text())
    questions = [ClusterQuestion(*row) for row in key["clusters"]]
    found: dict[str, list[bool]] = {}
    for number, answer in answers():
        if number.startswith("k"):
            one = questions[int(number.removeprefix("k"))]
            found.setdefault(one.namer, []).append(answer == str(one.answer))
    return found


def answers() -> Iterator[tuple[str, str]]:
    """Yield the number and the answer of every question that a judge answered."""
    for path in answer_files():
        yield from json.loads(path.read_text()).items()


def intervals(spaces: Mapping[str, FeatureSpace]) -> dict[str, Any]:
    """Return the shares with 95 % intervals (Wilson), and the aims."""
    table = {}
    for (version, group, draw), right in sorted(correct(spaces).items()):
        interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        table[f"{version} {group} {draw}"] = {
            "questions": len(right),
            "right": float(right.mean()),
            "from": float(interval.low),
            "to": float(interval.high),
            "aim": AIMS[group] if draw == "shown" else None,
        }
    return table

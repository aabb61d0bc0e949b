"""What spaces store and find of named concepts, as blind readers judged `test` sentences and concepts.

`python -m benchmarks.suites.encoders.judged FOLDER` writes a quiz on what the spaces of the suite store of
some records, but for what was read already (here, or for the suite `mentions`); `FOLDER --answers` collects
what was read. A pair is known by its sentence and the concept's name, whichever space stores it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.evidence.dictionary import read_dictionary
from benchmarks.evidence.fit import default_relations
from benchmarks.evidence.pairs import CLEAR, WEAK
from benchmarks.outcome import Figure
from benchmarks.suites.mentions.quiz import (
    INSTRUCTIONS,
    PART,
    WITHHELD_THIRD,
    Question,
    digits_in,
    read_key,
)
from benchmarks.suites.mentions.records import CORPORA, PRESENT, TestRecords
from benchmarks.suites.mentions.suite import BINS, MIN_IN_BIN, answers_of
from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE
from saeindex.features.dictionary import Judged
from saeindex.features.evidence_fit import Design
from saeindex.features.lexicon import Lexicon
from saeindex.features.trust import auroc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.features.evidence import Evidence
    from saeindex.protocols import TextEncoder

READING = Path(__file__).parent / "reading" / "answers.jsonl"
# Pairs of a corpus that are read of what a space stores, and draws of a bootstrap.
DRAWN, DRAWS = 130, 1_000
# The corpus on which two precisions are compared.
AGREED = "us_speeches"


class Pair(NamedTuple):
    """A sentence of a record, and a concept by its name."""

    corpus: str
    record: str
    sentence: int
    concept: str


class Spoken(NamedTuple):
    """The measures of a space, by name, and by sentence what its evidence says of pairs that were read."""

    figures: dict[str, float]
    sentences: NDArray[np.int64]
    log_odds: NDArray[np.float32]
    is_clear: NDArray[np.bool_]
    is_said: NDArray[np.bool_]


def spoken(space: FeatureSpace, encoder: CachedEncoder, count: int) -> Spoken:
    """Measure a space: precision and calibration of what it stores, recall, exclusions, pairs told apart."""
    assert space.evidence is not None
    records = {corpus: TestRecords.read(corpus, encoder, count) for corpus in CORPORA}
    figures = of_stored(stored(space, records))
    found = {stratum: found_again(space, records, stratum) for stratum in ("used", "withheld")}
    figures |= {f"recall_{stratum}": share for stratum, share in found.items()}
    figures["not_leak"] = 1 - float(np.mean(list(found.values())))
    return told_apart(space, records, encoder, figures)


# What is stored -----------------------------------------------------------------------------------------


def stored(space: FeatureSpace, records: Mapping[str, TestRecords]) -> dict[Pair, float]:
    """Return some of the pairs that a space stores, the same of all spaces that do, and their evidence."""
    drawn = dict[Pair, float]()
    for corpus, own in records.items():
        assert space.evidence is not None
        every = {
            Pair(corpus, record, one.sentence, space.labels[one.feature].text): one.p
            for record, found in zip(own.ids, own.mentions(space.evidence), strict=True)
            for one in found
            if one.p >= PRESENT
        }
        drawn |= {pair: every[pair] for pair in sorted(every, key=_lot)[:DRAWN]}
    return drawn


def _lot(pair: Pair) -> bytes:
    return hashlib.sha256(f"{pair.corpus} {pair.record} {pair.concept}".encode()).digest()


def of_stored(pairs: Mapping[Pair, float]) -> dict[str, float]:
    """Return the precision of pairs that a space stores, and the largest error of their evidence, of bins."""
    known = answers()
    read = [(p, known[pair]) for pair, p in pairs.items() if pair in known]
    p, answer = (np.array(column) for column in zip(*read, strict=True))
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    bins = [place == one for one in range(BINS) if (place == one).sum() >= MIN_IN_BIN]
    errors = [abs(float(p[own].mean() - (answer[own] == CLEAR).mean())) for own in bins]
    return {
        "read": len(read), "clear": float((answer == CLEAR).mean()),
        "related": float((answer >= WEAK).mean()), "calibration_error": max(errors, default=0.0),
    }  # fmt: skip


@cache
def answers() -> dict[Pair, int]:
    """Return all that was read of pairs, here and for the suite `mentions`."""
    labels, given = FeatureSpace.load(DEFAULT_SPACE).labels, answers_of("reader")
    asked = read_key()
    found = {_pair(asked[i], labels[asked[i].feature].text): answer for i, answer in given.items()}
    lines = READING.read_text().splitlines() if READING.is_file() else []
    for corpus, record, sentence, concept, answer in map(json.loads, lines):
        found[Pair(corpus, record, sentence, concept)] = answer
    return found


def _pair(question: Question, concept: str) -> Pair:
    return Pair(question.corpus, question.record, question.sentence, concept)


# What is found ------------------------------------------------------------------------------------------


@cache
def withheld() -> frozenset[tuple[str, str]]:
    """Return the words that are withheld of concepts, by the names of these."""
    space = FeatureSpace.load(DEFAULT_SPACE)
    assert space.evidence is not None
    relations = default_relations(CachedEncoder())
    hidden = relations.third([entry.name for entry in read_dictionary()], WITHHELD_THIRD)
    names = [space.labels[feature].text for feature in space.evidence.features.tolist()]
    return frozenset((relations.words[word], names[row]) for word, row in relations.pairs[hidden].tolist())


def blind(space: FeatureSpace) -> Evidence:
    """Return the evidence of a space without the words that are withheld."""
    assert space.evidence is not None
    names = [space.labels[feature].text for feature in space.evidence.features.tolist()]
    kept = {
        key: of for key, of in space.evidence.lexicon.items() if (key[0], names[key[1]]) not in withheld()
    }
    return replace(space.evidence, lexicon=Lexicon.of(kept))


def found_again(space: FeatureSpace, records: Mapping[str, TestRecords], stratum: str) -> float:
    """Return the share of clear uses of a concept's name, or of words that are withheld, that are stored."""
    evidence = blind(space) if stratum == "withheld" else space.evidence
    assert evidence is not None
    names, known, found = FeatureSpace.load(DEFAULT_SPACE).labels, answers_of("reader"), list[bool]()
    there = {
        (corpus, record, space.labels[one.feature].text)
        for corpus, own in records.items()
        for record, mentions in zip(own.ids, own.mentions(evidence), strict=True)
        for one in mentions
        if one.p >= PRESENT
    }
    for i, one in enumerate(read_key()):
        is_there = one.record in records[one.corpus].ids
        if is_there and one.stratum == stratum and known.get(i) == CLEAR:
            found.append((one.corpus, one.record, names[one.feature].text) in there)
    return float(np.mean(found))


def told_apart(
    space: FeatureSpace, records: Mapping[str, TestRecords], encoder: CachedEncoder, figures: dict[str, float]
) -> Spoken:
    """Add how well evidence tells pairs apart that were read for `mentions`: those said, and only meant."""
    assert space.evidence is not None
    labels, known, asked = FeatureSpace.load(DEFAULT_SPACE).labels, answers_of("reader"), read_key()
    row = {space.labels[feature].text: i for i, feature in enumerate(space.evidence.features.tolist())}
    at = {(corpus, record): (own, i) for corpus, own in records.items() for i, record in enumerate(own.ids)}
    places, rows, concepts, clear = dict[str, int](), list[int](), list[int](), list[bool]()
    for i, answer in known.items():
        if (one := asked[i]).sentence < 0 or (one.corpus, one.record) not in at:
            continue
        own, record = at[one.corpus, one.record]
        sentence = own.sentences[own.ends[record] + one.sentence]
        rows.append(places.setdefault(sentence, len(places)))
        concepts.append(row[labels[one.feature].text])
        clear.append(answer == CLEAR)
    pairs = Judged(tuple(places), np.array(rows), np.array(concepts), np.array(clear))
    design = Design.of(pairs, space.evidence, encoder)
    log_odds = design.log_odds(space.evidence.near, space.evidence.named)
    for name, is_own in (("said", design.is_said), ("meant", ~design.is_said)):
        figures[f"auroc_{name}"] = float(auroc(log_odds[is_own, None], pairs.is_clear[is_own])[0])
    return Spoken(figures, pairs.rows, log_odds, pairs.is_clear, design.is_said)


def beside(this: Spoken, packaged: Spoken) -> Iterator[tuple[str, Figure]]:
    """Yield the paired differences of AUROC, with their 95 % bootstrap intervals over sentences."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(this.sentences == one) for one in np.unique(this.sentences)]
    for kind, own in (("said", packaged.is_said), ("meant", ~packaged.is_said)):

        def difference(rows: NDArray[np.int64], own: NDArray[np.bool_] = own) -> float:
            chosen = rows[own[rows]]
            values = np.stack([this.log_odds[chosen], packaged.log_odds[chosen]], 1)
            ours, theirs = auroc(values, this.is_clear[chosen]).tolist()
            return float(ours - theirs)

        drawn = [
            difference(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
            for _ in range(DRAWS)
        ]
        low, high = np.quantile(drawn, (0.025, 0.975))
        yield (
            f"auroc_{kind}_beside",
            Figure(difference(np.arange(len(own))), f"AUROC, from {low:.3f} to {high:.3f}"),
        )


def agreement(space: FeatureSpace, a: TextEncoder, b: TextEncoder, count: int) -> float:
    """Return the share of the concepts of records that one encoder finds and the other does, too."""
    assert space.evidence is not None
    found = [
        {
            (record, one.feature)
            for record, own in enumerate(TestRecords.read(AGREED, encoder, count).mentions(space.evidence))
            for one in own
            if one.p >= PRESENT
        }
        for encoder in (a, b)
    ]
    return 2 * len(found[0] & found[1]) / (len(found[0]) + len(found[1]))


# The quiz -----------------------------------------------------------------------------------------------


def write(folder: Path, spaces: Mapping[str, tuple[FeatureSpace, CachedEncoder]]) -> None:
    """Write what is to be read, in parts, and its key."""
    known, label = answers(), dict[str, str]()
    texts, asked = dict[tuple[str, str, int], str](), dict[tuple[str, str, int], set[str]]()
    for name, (space, encoder) in spaces.items():
        records = {corpus: TestRecords.read(corpus, encoder) for corpus in CORPORA}
        drawn = stored(space, records)
        label |= {one.text: one.description for one in space.labels if one.description}
        for corpus, own in records.items():
            for i, record in enumerate(own.ids):
                sentences = own.sentences[own.ends[i] : own.ends[i + 1]]
                texts |= {(corpus, record, at): one for at, one in enumerate(sentences)}
        for pair in drawn.keys() - known.keys():
            asked.setdefault(pair[:3], set()).add(pair.concept)
        print(f"{name}: {len(drawn)} pairs, {len(drawn.keys() - known.keys())} not read")
    places = sorted(asked, key=lambda one: hashlib.sha256(repr(one).encode()).digest())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "INSTRUCTIONS.txt").write_text(INSTRUCTIONS, "utf-8")
    key = [[*place, sorted(asked[place])] for place in places]
    (folder.parent / f"{folder.name}-key.json").write_text(json.dumps(key))
    for start in range(0, len(places), PART):
        lines = list[str]()
        for number, place in enumerate(places[start : start + PART], start + 1):
            lines.append(f"\n{number}. “{' '.join(texts[place].split())}”")
            lines += [f"   {chr(97 + i)}) {one} — {label[one]}" for i, one in enumerate(sorted(asked[place]))]
        (folder / f"quiz-{start // PART + 1}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{sum(map(len, asked.values()))} questions on {len(places)} sentences")


def collect(folder: Path) -> None:
    """Add what was read to what is committed."""
    key = json.loads((folder.parent / f"{folder.name}-key.json").read_text())
    digits = digits_in(folder)
    found = list[list[Any]]()
    for number, (*place, concepts) in enumerate(key, 1):
        if len(own := digits.get(number, "")) == len(concepts):
            found += [[*place, concept, int(digit)] for concept, digit in zip(concepts, own, strict=True)]
    with READING.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in found)
    print(f"{len(found)} of {sum(len(one[-1]) for one in key)} questions answered")


def main() -> None:
    """Write the quiz, or collect answers."""
    from benchmarks.suites.encoders.suite import spaces

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--answers", action="store_true")
    arguments = parser.parse_args()
    if arguments.answers:
        collect(arguments.folder)
    else:
        write(arguments.folder, spaces())


if __name__ == "__main__":
    main()

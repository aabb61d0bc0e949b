"""A quiz for a blind reader: a sentence, and concepts by name and definition, as a user sees them.

`python -m benchmarks.suites.mentions.quiz FOLDER` writes what a reader sees, in parts, and the key: corpus,
record, number of the sentence, concept, stratum and evidence of each question. A reader writes a line with a
digit for each concept of a sentence: 2 clear, 1 weakly related, 0 wrong. `FOLDER --answers NAME` collects
the answers of one reader. `--again` gives the questions of the key the evidence of the present space: what
was read stays read, and weighs as before, as long as the evidence of the space finds no more pairs possible.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.evidence.dictionary import read_dictionary
from benchmarks.evidence.fit import default_fit, default_relations, evidence_of, lexicon_of, reweighed
from benchmarks.suites.mentions.records import CORPORA, SEED, TestRecords, uses
from saeindex import FeatureSpace
from saeindex.config import DEFAULT_SPACE
from saeindex.features.evidence import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.evidence.relations import Relations
    from saeindex.features.evidence import Mention
    from saeindex.features.lexicon import Lexicon

FOLDER = Path(__file__).parent / "reading"
# Evidence of the bins of a stratum, and the questions of each in a corpus: of words that name a concept, and
# of those that only mean it.
BINS = ((0.2, 0.35), (0.35, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01))
SAID, MEANT = (30, 30, 160, 140, 80), (30, 30, 150, 90, 30)
# Questions of a corpus: uses of a concept's name, and of a withheld word; codes of whole texts, as before.
USED, WITHHELD, BEFORE = 60, 80, 60
PART, WHOLE = 70, -1
# Which third of the synonyms and narrower terms is withheld; the fit learns from another one.
WITHHELD_THIRD = 0
INSTRUCTIONS = (Path(__file__).parent / "instructions.txt").read_text("utf-8")


class Question(NamedTuple):
    """Does the sentence of a record (-1: its text) speak of the concept of a feature?

    ``p`` is its evidence, ``share`` the number of pairs of its stratum for each that is asked.
    """

    corpus: str
    record: str
    sentence: int
    feature: int
    stratum: str
    p: float
    share: float


class Lists(NamedTuple):
    """The evidence of a space; relations, which are withheld, all as a lexicon, and the evidence without."""

    evidence: Evidence
    relations: Relations
    hidden: NDArray[np.bool_]
    every: Lexicon
    blind: Evidence

    @classmethod
    def of(cls, space: FeatureSpace, encoder: CachedEncoder) -> Lists:
        """Fit the evidence without the words that are withheld."""
        evidence = space.evidence
        assert evidence is not None
        relations = default_relations(encoder)
        hidden = relations.third([entry.name for entry in read_dictionary()], WITHHELD_THIRD)
        kept, _ = default_fit(space, encoder, relations)
        poorer = relations.without(hidden)
        blind = evidence_of(space, reweighed(kept, poorer), poorer)
        return cls(evidence, relations, hidden, lexicon_of(relations, kept.weights), blind)


def questions(space: FeatureSpace, encoder: CachedEncoder) -> Iterator[Question]:
    """Yield all questions, corpus by corpus."""
    evidence, relations, hidden, every, blind = Lists.of(space, encoder)
    is_synonym = relations.column("synonym") > 0
    is_own = ~is_synonym & (relations.column("narrower") == 0)
    is_certain = is_synonym | (relations.column("share") == 1)
    for corpus in CORPORA:
        records, rng = TestRecords.read(corpus, encoder), np.random.default_rng(SEED)
        yield from _stored(records, evidence, rng)
        names_used = uses(records, every, relations.is_name & is_own)
        yield from _used("used", records, evidence, names_used, USED, rng)
        listed = uses(records, every, relations.is_name & ~hidden)
        unlisted = uses(records, every, hidden & is_certain) - listed
        yield from _used("withheld", records, blind, unlisted, WITHHELD, rng)
        yield from _before(records, space, evidence, rng)


def _stored(records: TestRecords, evidence: Evidence, rng: np.random.Generator) -> Iterator[Question]:
    strata: dict[tuple[str, int], list[tuple[int, Mention]]] = defaultdict(list)
    for record, found in enumerate(records.mentions(evidence)):
        for one in found:
            sentence = records.sentences[records.ends[record] + one.sentence]
            kind = "meant" if evidence.word_of(sentence, one.feature) is None else "said"
            own = next(i for i, (low, high) in enumerate(BINS) if low <= one.p < high)
            strata[kind, own].append((record, one))
    for (kind, own), members in sorted(strata.items()):
        count = min(len(members), {"said": SAID, "meant": MEANT}[kind][own])
        for i in rng.choice(len(members), count, replace=False).tolist():
            record, one = members[i]
            yield Question(
                records.corpus,
                records.ids[record],
                one.sentence,
                one.feature,
                kind,
                one.p,
                len(members) / count,
            )


def _used(
    stratum: str, records: TestRecords, evidence: Evidence, pairs: Iterable[tuple[int, int]], count: int,
    rng: np.random.Generator,
) -> Iterator[Question]:  # fmt: skip
    """Yield uses of words, with the largest evidence of their concepts in the record."""
    known = [{one.feature: one.p for one in found} for found in records.mentions(evidence)]
    ordered = sorted(pairs)
    for i in rng.choice(len(ordered), min(count, len(ordered)), replace=False).tolist():
        row, concept = ordered[i]
        record, feature = int(records.owners[row]), int(evidence.features[concept])
        at = row - records.ends[record]
        yield Question(
            records.corpus, records.ids[record], at, feature, stratum, known[record].get(feature, 0.0), 1.0
        )


def _before(
    records: TestRecords, space: FeatureSpace, evidence: Evidence, rng: np.random.Generator
) -> Iterator[Question]:
    """Yield named features that are active in whole texts: what an index without sentences has."""
    active = space.encode(records.whole).to_csr()[:, evidence.features].tocoo()
    chosen = rng.choice(active.nnz, min(BEFORE, active.nnz), replace=False)
    for i in chosen.tolist():
        feature = int(evidence.features[active.col[i]])
        record = records.ids[int(active.row[i])]
        yield Question(records.corpus, record, WHOLE, feature, "before", 0.0, active.nnz / len(chosen))


def asked(found: list[Question]) -> list[tuple[tuple[str, str, int], list[Question]]]:
    """Return the questions by sentence, in an order that says nothing; a pair is asked once."""
    by_sentence: dict[tuple[str, str, int], dict[int, Question]] = defaultdict(dict)
    for one in found:
        by_sentence[one.corpus, one.record, one.sentence].setdefault(one.feature, one)
    rng = np.random.default_rng(SEED)
    sentences = [
        (place, sorted(own.values(), key=lambda one: one.feature)) for place, own in by_sentence.items()
    ]
    return [sentences[i] for i in rng.permutation(len(sentences)).tolist()]


def write(folder: Path, space: FeatureSpace, encoder: CachedEncoder) -> None:
    """Write the quiz in parts, and the key."""
    found = list(questions(space, encoder))
    groups = asked(found)
    texts = dict[tuple[str, str, int], str]()
    for corpus in CORPORA:
        records = TestRecords.read(corpus, encoder)
        for number, record in enumerate(records.ids):
            sentences = records.sentences[records.ends[number] : records.ends[number + 1]]
            texts |= {(corpus, record, i): one for i, one in enumerate(sentences)}
            texts[corpus, record, WHOLE] = records.texts[number]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "INSTRUCTIONS.txt").write_text(INSTRUCTIONS, "utf-8")
    for start in range(0, len(groups), PART):
        lines = list[str]()
        for number, (place, own) in enumerate(groups[start : start + PART], start + 1):
            lines.append(f"\n{number}. “{' '.join(texts[place].split())}”")
            for letter, one in enumerate(own):
                label = space.labels[one.feature]
                lines.append(f"   {chr(97 + letter)}) {label.text} — {label.description}")
        (folder / f"quiz-{start // PART + 1}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    _write_key(space, found)
    print(f"{len(found):,} questions on {len(groups):,} sentences in {-(-len(groups) // PART)} parts")


def _write_key(space: FeatureSpace, found: Sequence[Question]) -> None:
    key = {"space": space.fingerprint, "questions": [[*one] for one in found]}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "key.json").write_text(json.dumps(key) + "\n")


def ask_again(space: FeatureSpace, encoder: CachedEncoder) -> None:
    """Write the key with the evidence of the present space."""
    lists, found = Lists.of(space, encoder), list[Question]()
    records = {corpus: TestRecords.read(corpus, encoder) for corpus in CORPORA}
    known = {
        (corpus, is_blind): {
            (record, one.feature): one.p
            for record, own in zip(each.ids, each.mentions(evidence), strict=True)
            for one in own
        }
        for corpus, each in records.items()
        for is_blind, evidence in enumerate((lists.evidence, lists.blind))
    }  # fmt: skip
    for one in read_key():
        own = known[one.corpus, one.stratum == "withheld"]
        found.append(
            one if one.stratum == "before" else one._replace(p=own.get((one.record, one.feature), 0.0))
        )
    _write_key(space, found)


def read_key() -> list[Question]:
    """Return the questions of the committed key."""
    return [Question(*one) for one in json.loads((FOLDER / "key.json").read_text())["questions"]]


def digits_in(folder: Path) -> dict[int, str]:
    """Return what a reader wrote in all parts, by the number of the sentence."""
    lines = [line.split() for part in folder.glob("ANSWERS-*.txt") for line in part.read_text().splitlines()]
    return {int(line[0]): "".join(line[1:]) for line in lines if line and line[0].isdigit()}


def collect(folder: Path, judge: str) -> None:
    """Write what a reader answered, by the place of the question in the key."""
    found = read_key()
    place = {
        (one.corpus, one.record, one.sentence, one.feature): i for i, one in reversed([*enumerate(found)])
    }
    digits = digits_in(folder)
    answers = dict[int, int]()
    for number, (sentence, own) in enumerate(asked(found), 1):
        if len(digits.get(number, "")) == len(own):
            answers |= {
                place[*sentence, one.feature]: int(digit)
                for one, digit in zip(own, digits[number], strict=True)
            }
    (FOLDER / f"answers-{judge}.json").write_text(json.dumps(answers) + "\n")
    print(f"{len(answers):,} of {len(found):,} questions answered")


def main() -> None:
    """Write the quiz, or collect answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--answers", metavar="JUDGE")
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    if arguments.again:
        ask_again(FeatureSpace.load(DEFAULT_SPACE), CachedEncoder())
    elif arguments.folder is None:
        parser.error("give the folder of the quiz")
    elif arguments.answers:
        collect(arguments.folder, arguments.answers)
    else:
        write(arguments.folder, FeatureSpace.load(DEFAULT_SPACE), CachedEncoder())


if __name__ == "__main__":
    main()

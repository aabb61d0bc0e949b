"""A quiz for a blind reader: a name and two texts, one of which has the feature of that name.

The other text is one of its nearest that lack the feature. Further questions are on findings (see
:mod:`.findings`). `python -m benchmarks.suites.legibility.quiz FOLDER` writes what a reader sees, in parts,
and the key: ids, numbers and digests of names. A reader answers with a JSON object of "A" and "B" by
question number, of findings "Y" and "N", of clusters "1" to "5"; `--answers` collects such files.

`--again` keeps what was asked and answered, except of features that a record no longer shows, and writes the
questions whose names are others than they were.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.suites.legibility.clusters import ClusterQuestion, cluster_questions
from benchmarks.suites.legibility.findings import CORPORA, Claim, claims, digest
from benchmarks.suites.legibility.versions import GROUPS, Version, asked, versions
from saeindex.features.labels import telling_order

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from saeindex.types import FloatArray, Record, SparseCode

DRAWS = ("all", "shown")
FOLDER = Path(__file__).parent / "reading"
# Questions of each kind: what is shown is what counts.
QUESTIONS, SEED = {"all": 300, "shown": 600}, 0
# Features shown of a record, and near texts without a feature.
SHOWN, NEAR = 5, 10
PART = 200
# Whose answers are kept.
JUDGE = "reader"
OTHER = {"A": "B", "B": "A"}
ASK = {
    "part": "Which of the two texts, A or B, is about what the name before them says?\n",
    "claims": "Does the text say or show what the name before it says, Y or N?\n",
    "clusters": "Which of the five groups of records does the name before them stand for, 1 to 5?\n",
}


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The records of one group of corpora, with their embeddings (m, d)."""

    corpora: NDArray[np.str_]
    records: list[Record]
    vectors: FloatArray

    @classmethod
    def read(cls, group: str, encoder: CachedEncoder) -> Texts:
        """Read the records that may be asked about."""
        found = [(corpus, record) for corpus in GROUPS[group] for record in asked(corpus)]
        vectors = encoder.encode_document([record.text for _, record in found])
        return cls(np.array([corpus for corpus, _ in found]), [record for _, record in found], vectors)

    def near_without(self, active: csr_matrix, feature: int, row: int) -> NDArray[np.int64]:
        """Return the texts (up to ``NEAR``) of a row's corpus nearest to it that lack a feature."""
        without = np.flatnonzero(active[:, [feature]].toarray()[:, 0] == 0)
        without = without[self.corpora[without] == self.corpora[row]]
        near: NDArray[np.int64] = without[np.argsort(-(self.vectors[without] @ self.vectors[row]))[:NEAR]]
        return near


@dataclass(frozen=True, slots=True)
class Question:
    """A question: the text that has the feature stands first (A) or second (B), by the ``answer``.

    ``name`` is the digest of the name that is asked about.
    """

    space: str
    group: str
    draw: str
    feature: int
    corpus: str
    has: str
    lacks: str
    answer: str
    name: str = ""


def questions(version: Version, group: str, texts: Texts) -> Iterator[Question]:
    """Yield questions: of features drawn alike ("all"), and as often as records show them ("shown")."""
    rng = np.random.default_rng([SEED, *group.encode()])
    space = version.space
    code = space.encode(texts.vectors)
    active = code.to_csr()
    rows = np.repeat(np.arange(len(texts.records)), np.diff(code.indptr))
    is_typical = space.calibration.levels(code.indices, code.values) >= 1
    pairs = {
        "all": _one_of_each(rows[is_typical], code.indices[is_typical], rng),
        "shown": _of_records(version, texts, code, rng),
    }
    for draw in DRAWS:
        taken = 0
        for row, feature in pairs[draw]:
            near = texts.near_without(active, feature, row)
            if len(near) < NEAR:
                continue
            lacks = texts.records[int(rng.choice(near))].id
            corpus, answer = str(texts.corpora[row]), "AB"[int(rng.integers(2))]
            has, name = texts.records[row].id, digest(version.name_of(feature))
            yield Question(version.name, group, draw, feature, corpus, has, lacks, answer, name)
            taken += 1
            if taken == QUESTIONS[draw]:
                break


def _one_of_each(
    rows: NDArray[np.int64], features: NDArray[np.int32], rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Yield features in a random order, each with a text in which it is typical."""
    for feature in rng.permutation(np.unique(features)).tolist():
        yield int(rng.choice(rows[features == feature])), int(feature)


def _of_records(
    version: Version, texts: Texts, code: SparseCode, rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Yield records in a random order, each with one of the features that are shown first of it."""
    for row in rng.permutation(len(code)).tolist():
        first = _first_shown(version, texts, code, row)
        if len(first):
            yield row, int(rng.choice(first))


def _first_shown(version: Version, texts: Texts, code: SparseCode, row: int) -> NDArray[np.int32]:
    """Return the features that are shown first of a record, without those that are hidden."""
    space, (indices, values) = version.space, code.row(row)
    first = indices[telling_order(space.labels, space.calibration, indices, values)][:SHOWN]
    return first[~space.has_weak_label[first]]


def asked_again(version: Version, group: str, texts: Texts, known: Sequence[Question]) -> Iterator[Question]:
    """Yield known questions of a version with the names of today.

    A feature that a record no longer shows makes room for one that it shows; a text that now has the feature,
    for a near one that lacks it. Questions on records that show nothing any more are left out.
    """
    rng = np.random.default_rng([SEED, *group.encode()])
    code = version.space.encode(texts.vectors)
    active = code.to_csr()
    row_of = {
        (str(c), r.id): row for row, (c, r) in enumerate(zip(texts.corpora, texts.records, strict=True))
    }
    for one in known:
        row, feature, lacks = row_of[one.corpus, one.has], one.feature, row_of[one.corpus, one.lacks]
        first = _first_shown(version, texts, code, row)
        if one.draw == "shown" and feature not in first:
            if not len(first):
                continue
            feature = int(rng.choice(first))
        if active[lacks, feature] or feature != one.feature:
            lacks = int(rng.choice(texts.near_without(active, feature, row)))
        name = digest(version.name_of(feature))
        yield replace(one, feature=feature, lacks=texts.records[lacks].id, name=name)


def shares(version: Version, texts: Texts) -> dict[str, float]:
    """Return the shares of live features and of code mass that are hidden, and the mass hidden by corpus."""
    code = version.space.encode(texts.vectors)
    rows = np.repeat(np.arange(len(code)), np.diff(code.indptr))
    corpora = sorted(map(str, set(texts.corpora)))
    is_hidden = np.zeros(len(rows), bool)
    features = []
    for corpus in corpora:
        hidden, own = version.space.has_weak_label, texts.corpora[rows] == corpus
        is_hidden[own] = hidden[code.indices[own]]
        features.append(hidden[np.unique(code.indices[own])].mean())
    mass = np.zeros(len(code))
    np.add.at(mass, rows, code.values * is_hidden)
    mass /= np.add.reduceat(code.values, code.indptr[:-1])
    by_corpus = {corpus: float(mass[texts.corpora == corpus].mean()) for corpus in corpora}
    return {"features": float(np.mean(features)), "mass": float(mass.mean())} | by_corpus


def write(folder: Path, again: bool = False) -> None:
    """Write the key of all questions in a random order, and what a reader sees of them.

    ``again`` keeps the questions and the answers that there are.
    """
    encoder, past = CachedEncoder(), Past.read() if again else Past()
    texts = {group: Texts.read(group, encoder) for group in GROUPS}
    corpora = sorted({corpus for named in (GROUPS, CORPORA) for group in named.values() for corpus in group})
    known = {version.name: version for version in versions(encoder, corpora)}
    asked_of = [
        question
        for one, group in product(known.values(), GROUPS)
        for question in (
            asked_again(one, group, texts[group], past.of(one.name, group))
            if again
            else questions(one, group, texts[group])
        )
    ]
    claimed = [claim for one in known.values() for group in GROUPS for claim in claims(one, group)]
    named = [] if again else list(cluster_questions(corpora))
    rng = np.random.default_rng(SEED)
    named = [named[i] for i in rng.permutation(len(named))]
    asked_of = [asked_of[i] for i in rng.permutation(len(asked_of))]
    claimed = [claimed[i] for i in rng.permutation(len(claimed))]
    of = {(str(c), r.id): r.text for t in texts.values() for c, r in zip(t.corpora, t.records, strict=True)}
    FOLDER.mkdir(exist_ok=True)
    key: dict[str, Any] = {
        "spaces": {name: version.space.fingerprint for name, version in known.items()},
        "columns": list(Question.__slots__),
        "questions": [list(asdict(question).values()) for question in asked_of],
        "claim_columns": list(Claim.__slots__),
        "claims": [list(asdict(claim).values()) for claim, _, _ in claimed],
        "cluster_columns": list(ClusterQuestion.__slots__),
        "clusters": past.clusters or [list(asdict(question).values()) for question, _, _ in named],
    }
    (FOLDER / "key.json").write_text(json.dumps(key))
    answered = past.answered(asked_of, [claim for claim, _, _ in claimed])
    if again:
        _save(answered, JUDGE)
    folder.mkdir(parents=True, exist_ok=True)
    names = [known[one.space].name_of(one.feature) for one in asked_of]
    shown = {str(i): _shown(i, q, name, of) for i, (q, name) in enumerate(zip(asked_of, names, strict=True))}
    _write(folder, "part", [line for number, line in shown.items() if number not in answered])
    lines = {f"c{i}": f"c{i}. {name}\n  {_line(text)}\n" for i, (_, name, text) in enumerate(claimed)}
    _write(folder, "claims", [line for number, line in lines.items() if number not in answered])
    _write(folder, "clusters", [_groups(i, name, groups) for i, (_, name, groups) in enumerate(named)])


def _write(folder: Path, name: str, lines: Sequence[str]) -> None:
    for start in range(0, len(lines), PART):
        part = "\n".join([ASK[name], *lines[start : start + PART]])
        (folder / f"{name}-{start // PART + 1:02}.txt").write_text(part)


def _shown(number: int, question: Question, name: str, of: dict[tuple[str, str], str]) -> str:
    """Return what a reader sees of a question."""
    two = [of[question.corpus, question.has], of[question.corpus, question.lacks]]
    a, b = two if question.answer == "A" else reversed(two)
    return f"{number}. {name}\n  A: {_line(a)}\n  B: {_line(b)}\n"


def _groups(number: int, name: str, groups: Sequence[Sequence[str]]) -> str:
    """Return what a reader sees of a question on the name of a cluster."""
    lines = [f"  {place}: {' | '.join(group)}" for place, group in enumerate(groups, 1)]
    return "\n".join([f"k{number}. {name}", *lines, ""])


def _line(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Past:
    """What was asked and answered before."""

    questions: Sequence[Question] = ()
    claims: Sequence[Claim] = ()
    clusters: Sequence[Any] = ()
    answers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Past:
        """Read the key and the answers."""
        key = json.loads((FOLDER / "key.json").read_text())
        asked_of, claimed = (
            [Question(*row) for row in key["questions"]],
            [Claim(*row) for row in key["claims"]],
        )
        return cls(asked_of, claimed, key["clusters"], json.loads(_answers(JUDGE).read_text()))

    def of(self, version: str, group: str) -> list[Question]:
        """Return the questions of a version and a group."""
        return [one for one in self.questions if (one.space, one.group) == (version, group)]

    def answered(self, asked_of: Sequence[Question], claimed: Sequence[Claim]) -> dict[str, str]:
        """Return the answers to the same names, texts and examples, by their present numbers."""
        taken = {
            _same(one): self.answers[str(i)] == one.answer
            for i, one in enumerate(self.questions)
            if str(i) in self.answers
        }
        said = {(one.name, one.record): self.answers.get(f"c{i}") for i, one in enumerate(self.claims)}
        found = {number: answer for number, answer in self.answers.items() if number.startswith("k")}
        for i, one in enumerate(asked_of):
            if (is_right := taken.get(_same(one))) is not None:
                found[str(i)] = one.answer if is_right else OTHER[one.answer]
        for i, claim in enumerate(claimed):
            if (answer := said.get((claim.name, claim.record))) is not None:
                found[f"c{i}"] = answer
        return found


def _same(question: Question) -> tuple[str, str, str, str]:
    return question.name, question.corpus, question.has, question.lacks


def collect(files: Sequence[Path], judge: str) -> None:
    """Write the answers of one judge beside the key, with those that are there."""
    known = _answers(judge)
    answers: dict[str, str] = json.loads(known.read_text()) if known.exists() else {}
    for file in files:
        answers |= json.loads(file.read_text())
    _save(answers, judge)


def _answers(judge: str) -> Path:
    return FOLDER / f"answers-{judge}.json"


def _save(answers: Mapping[str, str], judge: str) -> None:
    _answers(judge).write_text(json.dumps(dict(sorted(answers.items(), key=_number))))


def _number(answer: tuple[str, str]) -> tuple[str, int]:
    digits = answer[0].lstrip("ck")
    return answer[0].removesuffix(digits), int(digits)


def main() -> None:
    """Write the quiz, or collect answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the parts, and of answers as JSON files")
    parser.add_argument("--again", action="store_true", help="ask only about names that are new")
    parser.add_argument("--answers", metavar="JUDGE", help="collect the answers of this judge")
    arguments = parser.parse_args()
    if arguments.answers:
        collect(sorted(arguments.folder.glob("*.json")), arguments.answers)
    else:
        write(arguments.folder, arguments.again)


if __name__ == "__main__":
    main()

"""A quiz for a blind reader: a name and two texts, one of which has the feature of that name.

The other text is one of its nearest that lack the feature. Further questions are on findings (see
:mod:`.findings`). `python -m benchmarks.suites.legibility.quiz FOLDER` writes what a reader sees, in parts,
and the key, which has ids and numbers only. A reader answers with a JSON object of "A" and "B" by question
number, of findings "Y" and "N", of clusters "1" to "5"; `--answers` collects such files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.corpora import CachedEncoder
from benchmarks.suites.legibility.clusters import ClusterQuestion, cluster_questions
from benchmarks.suites.legibility.findings import CORPORA, Claim, claims
from benchmarks.suites.legibility.versions import GROUPS, Version, asked, versions
from saeindex.features.labels import telling_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, Record, SparseCode

DRAWS = ("all", "shown")
FOLDER = Path(__file__).parent / "reading"
# Questions of each kind: what is shown is what counts.
QUESTIONS, SEED = {"all": 300, "shown": 600}, 0
# Features shown of a record, and near texts without a feature.
SHOWN, NEAR = 5, 10
PART = 200
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


@dataclass(frozen=True, slots=True)
class Question:
    """A question: the text that has the feature stands first (A) or second (B), by the ``answer``."""

    space: str
    group: str
    draw: str
    feature: int
    corpus: str
    has: str
    lacks: str
    answer: str


def questions(version: Version, group: str, texts: Texts) -> Iterator[Question]:
    """Yield questions: of features drawn alike ("all"), and as often as records show them ("shown")."""
    rng = np.random.default_rng([SEED, *group.encode()])
    space = version.space
    code = space.sae.encode(texts.vectors)
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
            without = np.flatnonzero(active[:, [feature]].toarray()[:, 0] == 0)
            without = without[texts.corpora[without] == texts.corpora[row]]
            if len(without) < NEAR:
                continue
            near = without[np.argsort(-(texts.vectors[without] @ texts.vectors[row]))[:NEAR]]
            lacks = texts.records[int(rng.choice(near))].id
            corpus, answer = str(texts.corpora[row]), "AB"[int(rng.integers(2))]
            yield Question(version.name, group, draw, feature, corpus, texts.records[row].id, lacks, answer)
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
    hidden = {str(corpus): version.of(corpus).has_weak_label for corpus in set(texts.corpora)}
    for row in rng.permutation(len(code)).tolist():
        corpus = str(texts.corpora[row])
        space, (indices, values) = version.of(corpus), code.row(row)
        first = indices[telling_order(space.labels, space.calibration, indices, values)][:SHOWN]
        if not hidden[corpus][first].all():
            yield row, int(rng.choice(first[~hidden[corpus][first]]))


def shares(version: Version, texts: Texts) -> dict[str, float]:
    """Return the shares of live features and of code mass that are hidden, and the mass hidden by corpus."""
    code = version.space.sae.encode(texts.vectors)
    rows = np.repeat(np.arange(len(code)), np.diff(code.indptr))
    corpora = sorted(map(str, set(texts.corpora)))
    is_hidden = np.zeros(len(rows), bool)
    features = []
    for corpus in corpora:
        hidden, own = version.of(corpus).has_weak_label, texts.corpora[rows] == corpus
        is_hidden[own] = hidden[code.indices[own]]
        features.append(hidden[np.unique(code.indices[own])].mean())
    mass = np.zeros(len(code))
    np.add.at(mass, rows, code.values * is_hidden)
    mass /= np.add.reduceat(code.values, code.indptr[:-1])
    by_corpus = {corpus: float(mass[texts.corpora == corpus].mean()) for corpus in corpora}
    return {"features": float(np.mean(features)), "mass": float(mass.mean())} | by_corpus


def write(folder: Path) -> None:
    """Write the key of all questions in a random order, and what a reader sees of them."""
    encoder = CachedEncoder()
    texts = {group: Texts.read(group, encoder) for group in GROUPS}
    corpora = sorted({corpus for named in (GROUPS, CORPORA) for group in named.values() for corpus in group})
    known = {version.name: version for version in versions(encoder, corpora)}
    asked_of = [q for one in known.values() for group in GROUPS for q in questions(one, group, texts[group])]
    claimed = [claim for one in known.values() for group in GROUPS for claim in claims(one, group)]
    named = list(cluster_questions(corpora))
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
        "clusters": [list(asdict(question).values()) for question, _, _ in named],
    }
    (FOLDER / "key.json").write_text(json.dumps(key))
    folder.mkdir(parents=True, exist_ok=True)
    names = [known[one.space].of(one.corpus).labels[one.feature].name for one in asked_of]
    shown = [_shown(i, one, name, of) for i, (one, name) in enumerate(zip(asked_of, names, strict=True))]
    _write(folder, "part", shown)
    lines = [f"c{i}. {name}\n  {_line(text)}\n" for i, (_, name, text) in enumerate(claimed)]
    _write(folder, "claims", lines)
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


def collect(files: Sequence[Path], judge: str) -> None:
    """Write the answers of one judge beside the key."""
    answers: dict[str, str] = {}
    for file in files:
        answers |= json.loads(file.read_text())
    (FOLDER / f"answers-{judge}.json").write_text(json.dumps(dict(sorted(answers.items(), key=_number))))


def _number(answer: tuple[str, str]) -> tuple[str, int]:
    digits = answer[0].lstrip("ck")
    return answer[0].removesuffix(digits), int(digits)


def main() -> None:
    """Write the quiz, or collect answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the parts, and of answers as JSON files")
    parser.add_argument("--answers", metavar="JUDGE", help="collect the answers of this judge")
    arguments = parser.parse_args()
    if arguments.answers:
        collect(sorted(arguments.folder.glob("*.json")), arguments.answers)
    else:
        write(arguments.folder)


if __name__ == "__main__":
    main()

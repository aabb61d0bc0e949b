"""A quiz for a blind reader: a name and two texts, one of which has the feature of that name.

The other text is one of its nearest that lack the feature. Further questions are on findings (see
:mod:`.findings`). `python -m benchmarks.suites.legibility.quiz FOLDER` writes what a reader sees, in parts,
and the key, which has ids and numbers only. A reader answers with a JSON object of "A" and "B" by question
number, of findings "Y" and "N"; `--answers` collects such files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import data, mixture
from benchmarks.corpora import CachedEncoder
from benchmarks.suites.legibility.findings import Claim, claims
from saeindex import FeatureSpace
from saeindex.features.labels import telling_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, Record, SparseCode

SPACES = {"v1": "minilm-general", "v2": "minilm-concepts"}
GENERAL = (
    "wikisplit", "topical_chat", "sgd", "nq_open", "gsm8k", "goemotions", "clinc150", "sentence_polarity",
    "medquad", "scicite", "stackoverflow_titles", "subjectivity", "tweeteval_stance",
)  # fmt: skip
GROUPS = {"general": GENERAL, "kept_out": mixture.KEPT_OUT}
DRAWS = ("all", "shown")
FOLDER = Path(__file__).parent / "reading"
# Questions of each kind: what is shown is what counts.
QUESTIONS, SEED = {"all": 300, "shown": 600}, 0
# Texts of a corpus, the longest that is read, features shown of a record, and near texts without a feature.
RECORDS, MAX_CHARS, SHOWN, NEAR = 500, 600, 5, 10
PART = 200
ASK = {
    "part": "Which of the two texts, A or B, is about what the name before them says?\n",
    "claims": "Does the text say or show what the name before it says, Y or N?\n",
}


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The records of one group of corpora, with their embeddings (m, d)."""

    corpora: NDArray[np.str_]
    records: list[Record]
    vectors: FloatArray

    @classmethod
    def read(cls, group: str, encoder: CachedEncoder) -> Texts:
        """Read the `test` parts; of a corpus, its first records that are short enough to be read."""
        found: list[tuple[str, Record]] = []
        for corpus in GROUPS[group]:
            short = [r for r in data.read(corpus, "test") if len(r.text) <= MAX_CHARS]
            found += [(corpus, record) for record in short[:RECORDS]]
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


def is_hidden(space: FeatureSpace) -> NDArray[np.bool_]:
    """Return the features (n,) that are shown last: their label is weak."""
    return np.array([label.is_weak for label in space.labels])


def questions(version: str, space: FeatureSpace, group: str, texts: Texts) -> Iterator[Question]:
    """Yield questions: of features drawn alike ("all"), and as often as records show them ("shown")."""
    rng = np.random.default_rng([SEED, *group.encode()])
    code = space.sae.encode(texts.vectors)
    active = code.to_csr()
    rows = np.repeat(np.arange(len(texts.records)), np.diff(code.indptr))
    is_typical = space.calibration.levels(code.indices, code.values) >= 1
    pairs = {
        "all": _one_of_each(rows[is_typical], code.indices[is_typical], rng),
        "shown": _of_records(space, code, rng),
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
            yield Question(version, group, draw, feature, corpus, texts.records[row].id, lacks, answer)
            taken += 1
            if taken == QUESTIONS[draw]:
                break


def _one_of_each(
    rows: NDArray[np.int64], features: NDArray[np.int32], rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Yield features in a random order, each with a text in which it is typical."""
    for feature in rng.permutation(np.unique(features)).tolist():
        yield int(rng.choice(rows[features == feature])), int(feature)


def _of_records(space: FeatureSpace, code: SparseCode, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield records in a random order, each with one of the features that are shown first of it."""
    hidden = is_hidden(space)
    for row in rng.permutation(len(code)).tolist():
        indices, values = code.row(row)
        first = indices[telling_order(space.labels, space.calibration, indices, values)][:SHOWN]
        if not hidden[first].all():
            yield row, int(rng.choice(first[~hidden[first]]))


def shares(space: FeatureSpace, texts: Texts) -> dict[str, float]:
    """Return the shares of live features and of code mass that are hidden, and the mass shown by corpus."""
    code = space.sae.encode(texts.vectors)
    hidden = is_hidden(space)
    live = np.unique(code.indices)
    mass = np.zeros(len(code))
    np.add.at(mass, np.repeat(np.arange(len(code)), np.diff(code.indptr)), code.values * hidden[code.indices])
    mass /= np.add.reduceat(code.values, code.indptr[:-1])
    by_corpus = {str(corpus): float(mass[texts.corpora == corpus].mean()) for corpus in set(texts.corpora)}
    return {"features": float(hidden[live].mean()), "mass": float(mass.mean())} | by_corpus


def write(folder: Path) -> None:
    """Write the key of all questions in a random order, and what a reader sees of them."""
    encoder = CachedEncoder()
    texts = {group: Texts.read(group, encoder) for group in GROUPS}
    spaces = {version: FeatureSpace.load(name) for version, name in SPACES.items()}
    asked = [
        question
        for version, space in spaces.items()
        for group in GROUPS
        for question in questions(version, space, group, texts[group])
    ]
    claimed = [
        one for version, space in spaces.items() for group in GROUPS for one in claims(version, space, group)
    ]
    rng = np.random.default_rng(SEED)
    asked, claimed = ([given[i] for i in rng.permutation(len(given))] for given in (asked, claimed))
    of = {(str(c), r.id): r.text for t in texts.values() for c, r in zip(t.corpora, t.records, strict=True)}
    FOLDER.mkdir(exist_ok=True)
    key: dict[str, Any] = {
        "spaces": {version: space.fingerprint for version, space in spaces.items()},
        "columns": list(Question.__slots__),
        "questions": [list(asdict(question).values()) for question in asked],
        "claim_columns": list(Claim.__slots__),
        "claims": [list(asdict(claim).values()) for claim, _, _ in claimed],
    }
    (FOLDER / "key.json").write_text(json.dumps(key))
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, "part", [_shown(i, one, spaces[one.space], of) for i, one in enumerate(asked)])
    lines = [f"c{i}. {name}\n  {_line(text)}\n" for i, (_, name, text) in enumerate(claimed)]
    _write(folder, "claims", lines)


def _write(folder: Path, name: str, lines: Sequence[str]) -> None:
    for start in range(0, len(lines), PART):
        part = "\n".join([ASK[name], *lines[start : start + PART]])
        (folder / f"{name}-{start // PART + 1:02}.txt").write_text(part)


def _shown(number: int, question: Question, space: FeatureSpace, of: dict[tuple[str, str], str]) -> str:
    """Return what a reader sees of a question."""
    two = [of[question.corpus, question.has], of[question.corpus, question.lacks]]
    a, b = two if question.answer == "A" else reversed(two)
    return f"{number}. {space.labels[question.feature].text}\n  A: {_line(a)}\n  B: {_line(b)}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def collect(files: Sequence[Path], judge: str) -> None:
    """Write the answers of one judge beside the key."""
    answers: dict[str, str] = {}
    for file in files:
        answers |= json.loads(file.read_text())
    (FOLDER / f"answers-{judge}.json").write_text(json.dumps(dict(sorted(answers.items(), key=_number))))


def _number(answer: tuple[str, str]) -> tuple[bool, int]:
    number = answer[0].removeprefix("c")
    return number != answer[0], int(number)


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

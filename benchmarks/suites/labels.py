"""Labels of the default space: how well they predict their features, and how well features fit known classes.

Splits: labels were made on 70 % of the mixture's documents and are tested on the others, with the trust
floor as it ships; again on `test` parts, which neither the space nor its labels used. The best
feature for a class is chosen on the corpus's `choose` part and measured on its `test` part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from benchmarks import data, mixture
from benchmarks.data import has_value, properties
from benchmarks.outcome import Figure, Outcome, at_least
from saeindex import FeatureSpace, open_encoder
from saeindex.config import DEFAULT_SPACE
from saeindex.features.labelling import LABELLED_SHARE, split_texts
from saeindex.features.labels import TRUST_FLOOR
from saeindex.features.trust import LabelScores, auroc, label_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeindex.types import FloatArray, SparseCode

SEED = 0
# The trust floor before it was raised to the present one.
FORMER_FLOOR = 0.7
RECORDS, ABSTRACTS, MIN_RECORDS = 1_500, 5_000, 20
CORPORA = (*mixture.OTHER_CORPORA, "agnews", "alpaca_eval")


def run(quick: bool) -> Outcome:
    """Measure; ``quick`` takes 6,000 of the mixture's texts and 300 records of each corpus."""
    outcome = Outcome("labels", quick, SEED)
    space = FeatureSpace.load(DEFAULT_SPACE)
    if not quick:
        x = unseen_by_labels()
        own = label_scores(space.label_vectors, x, space.encode(x), space.calibration, SEED)
        trust_figures(outcome, space, own)
    outcome.tables["on_test_parts"] = on_test_parts(space, quick)
    concept_figures(outcome, space, quick)
    return outcome


def unseen_by_labels() -> FloatArray:
    """Return the embeddings of the mixture's documents that labels were not made from."""
    corpus = mixture.load()
    _, tested = split_texts(len(corpus.texts), corpus.groups, LABELLED_SHARE, SEED)
    return mixture.embed([corpus.texts[i] for i in tested.tolist()], open_encoder(), "mixture")


def trust_figures(outcome: Outcome, space: FeatureSpace, scores: LabelScores) -> None:
    """Add the AUROC of labels as predictors, above the floor and over all, and of shuffled labels.

    The floor was raised after a look at these figures: so the goals are those of the floor that is harder to
    hold, the former for the mean, the present one for the share.
    """
    live = space.calibration.density > 0
    trust = np.array([np.nan if score is None else score for score in scores.trust])
    is_above, is_above_former = (np.nan_to_num(trust) >= floor for floor in (TRUST_FLOOR, FORMER_FLOOR))
    control = [score for score in scores.control if score is not None]
    n_tested = int(np.isfinite(trust).sum())
    figures = {
        "trust_mean_above_floor": Figure(float(trust[is_above].mean()), "AUROC", n=int(is_above.sum())),
        "trust_mean_above_former_floor": at_least(
            float(trust[is_above_former].mean()), 0.88, "AUROC", int(is_above_former.sum())
        ),
        "share_above_floor": at_least(float(is_above[live].mean()), 0.70, "share", int(live.sum())),
        "share_above_former_floor": Figure(float(is_above_former[live].mean()), "share", n=int(live.sum())),
        "trust_mean": Figure(float(np.nanmean(trust)), "AUROC", n=n_tested),
        "f1_mean": Figure(float(np.mean([s for s in scores.f1 if s is not None])), "F1", n=n_tested),
        "control_auroc": control_figure(float(np.mean(control)), len(control)),
    }
    outcome.figures.update(figures)


def control_figure(value: float, n: int) -> Figure:
    """Return the control, whose goal is one half, within .02."""
    return Figure(value, "AUROC", "0.50 ± 0.02", abs(value - 0.5) <= 0.02, n)


def on_test_parts(space: FeatureSpace, quick: bool) -> dict[str, Any]:
    """Return the same figures on texts that neither the space nor its labels were made from."""
    encoder, limit = open_encoder(), 300 if quick else RECORDS
    texts = [r.text for corpus in CORPORA for r in data.read(corpus, "test", limit)]
    texts += [r.text for r in data.read("arxiv_heldout", "test", 300 if quick else ABSTRACTS)]
    x = mixture.embed(texts, encoder, "test parts")
    scores = label_scores(space.label_vectors, x, space.encode(x), space.calibration, SEED)
    stored = np.array([label.trust or 0 for label in space.labels])
    trust = np.array([np.nan if score is None else score for score in scores.trust])
    is_above, is_tested = stored >= TRUST_FLOOR, np.isfinite(trust)
    return {
        "texts": len(texts),
        "tested": int(is_tested.sum()),
        "trust_mean": float(trust[is_tested].mean()),
        "trust_mean_of_labels_above_floor": float(trust[is_tested & is_above].mean()),
        "trust_mean_of_labels_below_floor": float(trust[is_tested & ~is_above].mean()),
        "control_auroc": float(np.mean([score for score in scores.control if score is not None])),
    }


def concept_figures(outcome: Outcome, space: FeatureSpace, quick: bool) -> None:
    """Add the AUROC per class of the best single feature, and of a feature chosen by its label."""
    table = {}
    for corpus in properties():
        halves = [halved(corpus, part, space, quick) for part in ("choose", "test")]
        rows = [one for query in properties()[corpus] if (one := recovered(query, halves, space)) is not None]
        if rows:
            names = ("best", "by_label", "dense_query")
            table[corpus] = {name: float(np.mean([row[i] for row in rows])) for i, name in enumerate(names)}
            table[corpus]["classes"] = len(rows)
    outcome.tables["concepts"] = table
    mean = float(np.mean([row["best"] for row in table.values()]))
    outcome.figures["concept_auroc_mean"] = Figure(mean, "AUROC", n=len(table))
    by_label = float(np.mean([row["by_label"] for row in table.values()]))
    outcome.figures["concept_auroc_by_label_mean"] = Figure(by_label, "AUROC", n=len(table))


Half = tuple[list[Any], "FloatArray", "SparseCode"]


def halved(corpus: str, part: str, space: FeatureSpace, quick: bool) -> Half:
    """Return metadata, embeddings and codes of a part; a corpus that is all `test` is cut in two."""
    if corpus == "arxiv_heldout":
        abstracts = list(data.read(corpus, "test", 300 if quick else ABSTRACTS))
        records = abstracts[::2] if part == "choose" else abstracts[1::2]
    else:
        records = list(data.read(corpus, part, 300 if quick else RECORDS))
    x = mixture.embed([r.text for r in records], open_encoder(), f"{corpus} {part}")
    return [r.metadata for r in records], x, space.encode(x)


def recovered(
    query: dict[str, Any], halves: list[Half], space: FeatureSpace
) -> tuple[float, float, float] | None:
    """Return the test AUROC of the feature that is best on `choose`, of the one with the nearest label, and
    of the description itself; None with fewer than 20 records of the class in either part."""
    is_in = [
        np.array([has_value(m, query["field"], query["value"]) for m in metadata])
        for metadata, _, _ in halves
    ]
    if any(min(members.sum(), (~members).sum()) < MIN_RECORDS for members in is_in):
        return None
    best = int(np.argmax(feature_aurocs(halves[0][2], is_in[0])))
    phrase = space.open_encoder().encode_query([query["query"]])[0]
    nearest = int(np.argmax(space.label_vectors @ phrase))
    found = feature_aurocs(halves[1][2], is_in[1], np.array([best, nearest]))
    dense = auroc(halves[1][1] @ phrase[:, None], is_in[1])[0]
    return float(found[0]), float(found[1]), float(dense)


def feature_aurocs(
    code: SparseCode, is_in: NDArray[np.bool_], features: NDArray[np.int64] | None = None
) -> FloatArray:
    """Return the AUROC of each feature's activation for a class (n,); ties, mostly zeros, count half."""
    columns = code.to_csr().tocsc()
    chosen = range(code.n_features) if features is None else features.tolist()
    n, m = int(is_in.sum()), int((~is_in).sum())
    scores = []
    for feature in chosen:
        span = slice(columns.indptr[feature], columns.indptr[feature + 1])
        active = is_in[columns.indices[span]]
        ranks = rankdata(columns.data[span])
        inside, outside = int(active.sum()), int((~active).sum())
        above = float(ranks[active].sum()) - inside * (inside + 1) / 2  # pairs of active records
        above += inside * (m - outside) + 0.5 * (n - inside) * (m - outside)
        scores.append(above / (n * m))
    return np.array(scores, np.float32)

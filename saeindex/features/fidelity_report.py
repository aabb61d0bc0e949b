"""A fidelity report in words: a verdict of a few sentences, and each figure with its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from saeindex.features.fidelity import FidelityReport, SpaceStability

# Bounds of NMSE, judged on the corpora of our own benchmark: the default space reaches the first, a space on
# texts of another kind the second; above the third, steering and explanations say little about the text.
FAITHFUL, USABLE, POOR = 0.2, 0.3, 0.5
MANY_DEAD = 0.01
# Records needed to call a feature dead: in fewer, rare features may not appear.
ENOUGH_FOR_DEAD = 50_000


class FidelityFigure(NamedTuple):
    """One line of the report."""

    name: str
    value: str
    meaning: str


def verdict(report: FidelityReport) -> list[str]:
    """Return a few plain sentences, the most important first."""
    sentences = [_error_sentence(report), _neighbour_sentence(report), _refinement_sentence(report)]
    sentences += [_dead_sentence(report), *(_stability_sentence(each) for each in report.stability)]
    return sentences


def figures(report: FidelityReport) -> list[FidelityFigure]:
    """Return every figure with its meaning, in reading order."""
    of_variance = f"squared error as a share of the variance about the mean of {report.mean_of}"
    rows = [
        FidelityFigure("NMSE", f"{report.nmse:.3f}", of_variance),
        FidelityFigure(
            "NMSE, not refined", f"{report.nmse_unrefined:.3f}", "with the encoder's own amplitudes"
        ),
        FidelityFigure("cosine", f"{report.cosine:.3f}", "mean, of an embedding and its reconstruction"),
        FidelityFigure(
            "cosine, 5th percentile", f"{report.cosine_p5:.3f}", "one record in twenty lies below"
        ),
        FidelityFigure("active features", f"{report.active:.1f}", f"mean per record, at most {report.k}"),
        FidelityFigure(
            "dead features", f"{report.dead_share:.1%}", f"never active in these {report.records:,} records"
        ),
        FidelityFigure(
            "top-10 overlap", f"{report.overlap:.3f}", "neighbours that stay, among reconstructions"
        ),
        FidelityFigure(
            "… dense queries", f"{report.overlap_dense_queries:.3f}", "only the documents are reconstructed"
        ),
        FidelityFigure("nDCG@10 retained", f"{report.ndcg_retained:.3f}", _ndcg_meaning(report)),
        FidelityFigure(
            "… dense queries",
            f"{report.ndcg_retained_dense_queries:.3f}",
            "only the documents are reconstructed",
        ),
    ]
    for each in report.stability:
        level = each.levels[-1]
        meaning = f"features that {each.against} has too, at a decoder cosine above .7 (one to one)"
        rows.append(FidelityFigure("stability", f"{level.matched:.3f}", meaning))
    return rows


def _ndcg_meaning(report: FidelityReport) -> str:
    if report.ndcg_dense is None:
        return "of the ranking by reconstruction, with the embeddings' cosines as gains"
    return f"relative to that of the embeddings ({report.ndcg_dense:.3f}), by known relevant records"


def _error_sentence(report: FidelityReport) -> str:
    if report.nmse >= 1:
        return (
            f"The reconstructions are no better than one mean for all (NMSE {report.nmse:.2f}): the space "
            "was made for other embeddings."
        )
    judged = "too little to rely on"
    for limit, words in ((FAITHFUL, "faithful"), (USABLE, "usable"), (POOR, "rough")):
        if report.nmse <= limit:
            judged = words
            break
    return (
        f"The codes keep {1 - report.nmse:.0%} of the variance of these {report.records:,} records "
        f"(NMSE {report.nmse:.3f}): {judged}."
    )


def _neighbour_sentence(report: FidelityReport) -> str:
    return (
        f"Of a record's ten nearest neighbours {10 * report.overlap:.1f} stay when queries and documents are "
        f"both reconstructed, {10 * report.overlap_dense_queries:.1f} when only the documents are "
        f"(among {report.compared:,} records)."
    )


def _refinement_sentence(report: FidelityReport) -> str:
    if report.nmse_unrefined <= report.nmse:
        return "Amplitudes are not refined, or refining them gains nothing."
    gain = 1 - report.nmse / report.nmse_unrefined
    return f"Refining the amplitudes takes {gain:.0%} off the error."


def _dead_sentence(report: FidelityReport) -> str:
    sentences = (
        f"{report.dead_share:.1%} of the {report.n_features:,} features are active in none of the records"
    )
    if report.records < ENOUGH_FOR_DEAD:
        return f"{sentences}; {ENOUGH_FOR_DEAD:,} records or more would show which are dead."
    return f"{sentences}, which is {'much' if report.dead_share > MANY_DEAD else 'little'}."


def _stability_sentence(stability: SpaceStability) -> str:
    first, last = stability.levels[0], stability.levels[-1]
    sentences = f"{stability.against} has {last.matched:.0%} of the features too"
    if first is last:
        return f"{sentences}."
    return f"{sentences}, and {first.matched:.0%} of the first {first.features:,}."

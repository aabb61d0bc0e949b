"""A comparison from counts alone: concepts of independent records, counted by facets, without a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeindex.analysis.diff.diff import DiffOptions, findings_of, method_of, power_of
from saeindex.analysis.diff.findings import headlines
from saeindex.analysis.diff.results import Diff
from saeindex.analysis.differences.hints import hints_of
from saeindex.analysis.stats.evidence import Evidence
from saeindex.analysis.stats.family_test import run_counted
from saeindex.analysis.stats.stratified import Counts
from saeindex.collection.facet_counts import EngineCounts, apart
from saeindex.errors import InvalidInputError
from saeindex.types import shown_label

if TYPE_CHECKING:
    from qdrant_client.models import Filter
    from scipy.sparse import csr_matrix

    from saeindex.features import FeatureSpace


def is_countable(options: DiffOptions, has_passages: bool) -> bool:
    """Say whether counts are all that a comparison needs: of concepts, with no unit, stratum or half."""
    is_plain = options.unit is None and not options.strata and options.length_bins == 0
    return is_plain and tuple(options.families) == ("concepts",) and not has_passages and not options.confirm


def counted_diff(
    engine: EngineCounts, space: FeatureSpace, conditions: dict[str, Filter], options: DiffOptions
) -> Diff:
    """Compare groups by two requests for each; findings have no examples."""
    from saeindex.analysis.stats.design import Design

    counted = {name: engine.frequencies(own, options.level) for name, own in apart(conditions).items()}
    for name, (size, _) in counted.items():
        if not size:
            raise InvalidInputError(
                f"the group {name!r}", "no record is in it alone", "Correct its condition."
            )
    sizes = {name: size for name, (size, _) in counted.items()}
    k = np.stack([counts for _, counts in counted.values()]).astype(np.float64)
    support, total = k.sum(0), sum(sizes.values())
    kept = np.flatnonzero((support >= options.least) & (support <= total - options.least))
    counts = Counts(k[None][:, :, kept], np.array([list(sizes.values())], np.float64))
    labels = [space.labels[i] for i in kept.tolist()]
    shown = tuple(shown_label(label.text, label.is_weak) for label in labels)
    evidence = Evidence("concepts", tuple(kept.tolist()), shown, _nothing(len(kept)))
    test = run_counted(evidence, counts, options.method)
    design = Design(np.zeros(0, np.int32))
    return Diff(
        groups=sizes,
        alpha=options.alpha,
        method=method_of(design, len(sizes), options),
        level=options.level,
        tested={"concepts": len(test)},
        findings={"concepts": headlines(findings_of(tuple(sizes), test, options.alpha, {}), space)},
        hints=hints_of(sizes, {"concepts": test}, options),
        power=tuple(power_of(test, sizes, options)),
        notes=("records are taken as independent, and texts as equally long",),
        counted_by=f"facets ({2 * len(sizes)} requests)",
        field=engine.field,
    )


def _nothing(width: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((0, width), dtype=np.float32)

"""Which clusters an index has along an axis: the clustering part of :class:`saeindex.index.FeatureIndex`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saeindex.analysis.cluster.cluster import cluster
from saeindex.config import CACHE_FOLDER

if TYPE_CHECKING:
    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.cluster import Method
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.stats.groups import Selection, Selector
    from saeindex.collection.snapshot import Snapshot
    from saeindex.search.planner import Planner


class ClusteringAlong:
    """Clusters along an axis."""

    planner: Planner
    folder: Path | None

    if TYPE_CHECKING:

        def snapshot(self, field: str = "") -> Snapshot:
            """Return the records as columns."""

        def _selector(self, snapshot: Snapshot) -> Selector: ...

    def cluster(
        self,
        axis: Axis | str | Mapping[str, object],
        *,
        examples: Mapping[str, Sequence[str]] | None = None,
        where: Selection | None = None,
        field: str = "",
        method: Method = "anchored",
        shown: int = 5,
    ) -> Clustering:
        """Return clusters of the records along an axis, and whether the space can express it.

        ``axis`` is a text (``"tone: angry, calm, joking"``), ``{name: [value, …]}``, ``{name: {value: text or
        texts}}`` or an :class:`Axis`; ``examples`` gives record ids by value, beside the texts or instead.
        ``where`` selects records; ``method`` "interpembed" is that paper's way.

        ``index.cluster({"tone": ["angry", "calm", "joking"]})``
        """
        snapshot = self.snapshot(field)
        rows = None if where is None else self._selector(snapshot)(where)
        cache = None if self.folder is None else self.folder / CACHE_FOLDER
        return cluster(
            self.planner.collection, snapshot, axis, rows, method, examples, shown=shown, cache=cache
        )

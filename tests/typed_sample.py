"""Every option of every method in use, for the type checker."""

from __future__ import annotations

from pathlib import Path

from qdrant_client import QdrantClient

from saeindex import AsyncFeatureIndex, FeatureIndex, Query, Steer
from saeindex.analysis.correlate.results import Correlations
from saeindex.analysis.diff.results import Diff
from saeindex.search.hits import Hits
from saeindex.search.query import GroupBy, Property, QueryOptions, Steering, Where


def made(path: Path, client: QdrantClient) -> FeatureIndex:
    FeatureIndex.open(path, space="minilm-concepts", client=None, url=None, encoder=None).close()
    return FeatureIndex.create(
        "papers", "minilm-concepts", client=client, url=None, encoder=None,
        payload_indexes={"metadata.year": "integer-range"}, fields=("prompt",), shard_number=3,
        replication_factor=2, write_consistency_factor=2, on_disk_payload=True,
    )  # fmt: skip


def searched(index: FeatureIndex) -> Hits:
    index.plan("galaxies", where="NOT #5", limit=3)
    index.search_many(["galaxies", Query("stars")], using="sae", limit=3)
    index.plan("galaxies", where="NOT #5", timeout=2.5)
    index.compare("galaxies", "a", "b", using="words")
    index.concepts.facets("galaxies", limit=5, where="NOT #5")
    index.concepts.exclusions("galaxies", limit=5, where="NOT #5")
    return index.search(
        "galaxies", where=Where("NOT #5", level="typical", resolve="strict"), query_filter=None,
        steer=Steering([Steer("theory", 0.5)], method="built", max_drift=0.2),
        property=Property("sounds sad", method="collection"), against=["happy"], like=["a"], unlike=["b"],
        feedback=None, using="dense", diversity=0.3,
        group_by=GroupBy("metadata.topic", size=2), limit=5, offset=5, score_threshold=0.1,
        explain=True, exact=True, timeout=1.0,
    )  # fmt: skip


def analysed(index: FeatureIndex) -> tuple[Diff, Correlations]:
    index.triggers(
        "refuses=declines", prompt_field="prompt", field="", where=None, level="strong", unit=None,
        alpha=0.01, method="by", min_support=3, limit=5,
    )  # fmt: skip
    index.cluster(
        "tone: angry, calm", examples={"angry": ["a"]}, where=None, field="", method="interpembed", shown=3
    )
    index.drift(
        "metadata.year", where=None, field="", order=None, families=("words",), level="strong", unit=None,
        strata=("metadata.kind",), length_bins=3, periods=6, alpha=0.01, method="by", min_support=3,
        examples=1, seed=1,
    )  # fmt: skip
    index.monitor(
        "metadata.year < 2010", "metadata.year >= 2010", field="", families=("words",), level="strong",
        unit=None, strata=(), length_bins=3, alpha=0.01, looks=12, min_effect=0.03, min_odds_ratio=2.0,
        method="by", min_support=3, examples=1, seed=1,
    )  # fmt: skip
    index.evaluate(
        [("rain", ["a"]), {"text": "wind", "relevant": {"b": 2}}],
        {"words": QueryOptions(using="words"), "dense": {"using": "dense"}},
        limit=5, alpha=0.01, shown=3, drafts=20,
    )  # fmt: skip
    index.describe("metadata.year < 2010", field="", shown=3, families=("words",), alpha=0.01)
    found = index.diff(
        "metadata.year < 2010", None, groups=None, by=None, other=None, named=("sad=feeling sad",),
        writer=None, field="", families=("concepts",), level="strong", unit="metadata.author",
        strata=("metadata.kind",), length_bins=5, paired=False, alpha=0.01, method="by", min_support=3,
        confirm=False, examples=1, hints=0, seed=1,
    )  # fmt: skip
    return found, index.correlate(
        (), (), field="", other_field="prompt", where=None, level="strong", unit="metadata.author",
        alpha=0.01, method="by", min_support=3, limit=10, with_trivial=True,
    )  # fmt: skip


async def awaited(path: Path) -> Hits:
    async with await AsyncFeatureIndex.open(path, workers=2) as index:
        await index.diff("metadata.year < 2010", alpha=0.01)
        return await index.search("galaxies", where="NOT #5", limit=3)

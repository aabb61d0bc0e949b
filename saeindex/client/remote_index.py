"""An index of a server, with the methods and the results of ``FeatureIndex``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from saeindex.analysis.correlate.options import (
    CorrelateKeywords,
    CorrelateOptions,
    TriggerKeywords,
    TriggerOptions,
)
from saeindex.analysis.diff.options import DiffKeywords, DiffOptions
from saeindex.analysis.drift.options import DriftKeywords, DriftOptions
from saeindex.analysis.monitor.options import MonitorKeywords, MonitorOptions
from saeindex.client.connection import Connection, error_of
from saeindex.config import FACETS
from saeindex.errors import ServerError
from saeindex.files import checked_suffix, replacing
from saeindex.search.query import Query, QueryKeywords, ResultKeywords
from saeindex.signatures import takes
from saeindex.types import Record

if TYPE_CHECKING:
    from narwhals.typing import IntoDataFrame
    from qdrant_client.models import Filter

    from saeindex.analysis.cluster.axis import Axis
    from saeindex.analysis.cluster.cluster import Method
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.all_pairs import Companion
    from saeindex.analysis.correlate.results import Correlations, Triggers
    from saeindex.analysis.diff.results import Diff
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.baseline import Baseline
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.groups import Selection
    from saeindex.collection.metadata_fields import MetadataField
    from saeindex.collection.stored import RecordPart, StoredRecord
    from saeindex.concepts.feature_card import FeatureCard
    from saeindex.concepts.resolver import Concept, FeatureMatch
    from saeindex.indexing.names import NameEdit
    from saeindex.indexing.pipeline import IndexingReport
    from saeindex.indexing.sources.columns import Columns
    from saeindex.search.compare import Comparison
    from saeindex.search.explain_analyze import Analysis
    from saeindex.search.facets import ConceptFacet, Exclusion
    from saeindex.search.hits import Hits
    from saeindex.search.plan import PlanSummary
    from saeindex.steering.saved_profile import Profile
    from saeindex.types import JsonObject, LevelName

# Seconds between two looks at a job, and that an analysis is waited for at once.
LOOK, WAIT_AT_ONCE = 0.1, 20.0


class RemoteIndex:
    """An index of a server; its methods are those of :class:`saeindex.FeatureIndex`.

    What a plan computed stays there: ``plan`` and ``hits.plan`` are a
    :class:`~saeindex.search.plan.PlanSummary`. docs/server.md has a table of what is not offered.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        """Called by ``Client.index``, not by users."""
        self.connection, self.name = connection, name
        self._path = f"/v1/indexes/{name}"

    # Queries ------------------------------------------------------------------------------------------

    @takes(Query, without=("text",))
    def search(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Hits:
        """See :meth:`FeatureIndex.search`."""
        found: Hits = self._post("search", query_body(query, options))
        return found

    @takes(Query, without=("text",))
    def search_many(self, /, queries: Sequence[str | Query], **options: Unpack[QueryKeywords]) -> list[Hits]:
        """See :meth:`FeatureIndex.search_many`."""
        bodies = [query_body(query, options) for query in queries]
        found: list[Hits] = self._post("search/many", {"queries": bodies}) if bodies else []
        return found

    @takes(Query, without=("text",))
    def plan(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> PlanSummary:
        """See :meth:`FeatureIndex.plan`; what the plan says, without what it computed."""
        found: PlanSummary = self._post("plan", query_body(query, options))
        return found

    @takes(Query, without=("text",))
    def explain_analyze(self, /, query: str | Query = "", **options: Unpack[QueryKeywords]) -> Analysis:
        """See :meth:`FeatureIndex.explain_analyze`."""
        found: Analysis = self._post("explain-analyze", query_body(query, options))
        return found

    @takes(Query, without=("text",))
    def compare(self, /, query: str | Query, a: str, b: str, **options: Unpack[QueryKeywords]) -> Comparison:
        """See :meth:`FeatureIndex.compare`."""
        found: Comparison = self._post("compare", {**query_body(query, options), "a": a, "b": b})
        return found

    @takes(Query, without=("text", "limit"))
    def concept_facets(
        self, /, query: str | Query = "", limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[ConceptFacet]:
        """See :meth:`FeatureIndex.concept_facets`."""
        found: list[ConceptFacet] = self._post("facets", {**query_body(query, options), "limit": limit})
        return found

    @takes(Query, without=("text", "limit"))
    def suggest_exclusions(
        self, /, query: str | Query, limit: int = FACETS, **options: Unpack[ResultKeywords]
    ) -> list[Exclusion]:
        """See :meth:`FeatureIndex.suggest_exclusions`."""
        found: list[Exclusion] = self._post("exclusions", {**query_body(query, options), "limit": limit})
        return found

    # Features -----------------------------------------------------------------------------------------

    def features(self, phrase: str, limit: int = 10) -> list[FeatureMatch]:
        """See :meth:`FeatureIndex.features`."""
        found: list[FeatureMatch] = self._get("features", q=phrase, limit=limit)
        return found

    def concept(self, target: str) -> Concept:
        """See :meth:`FeatureIndex.concept`."""
        found: Concept = self._get("concept", q=target)
        return found

    def feature(self, feature: int | str, examples: int = 5) -> FeatureCard:
        """See :meth:`FeatureIndex.feature`."""
        found: FeatureCard = self._get(f"features/{_number(feature)}", examples=examples)
        return found

    def companions(
        self,
        feature: int,
        *,
        where: str | None = None,
        level: LevelName = "typical",
        field: str = "",
        alpha: float = 0.05,
        limit: int = 20,
    ) -> Sequence[Companion]:
        """See :meth:`FeatureIndex.companions`."""
        options = {"where": where, "level": level, "field": field, "alpha": alpha, "limit": limit}
        found: Sequence[Companion] = self._get(f"features/{feature}/companions", **options)
        return found

    def rename(self, feature: int | str, name: str) -> None:
        """See :meth:`FeatureIndex.rename`."""
        self.connection.ask("PATCH", f"{self._path}/features/{_number(feature)}", {"name": name})

    def hide(self, feature: int | str, hidden: bool = True) -> None:
        """See :meth:`FeatureIndex.hide`."""
        self.connection.ask("PATCH", f"{self._path}/features/{_number(feature)}", {"hidden": hidden})

    @property
    def name_history(self) -> tuple[NameEdit, ...]:
        """See :attr:`FeatureIndex.name_history`."""
        from saeindex.indexing.names import NameEdit

        return tuple(NameEdit.model_validate(one) for one in self._get("names")["history"])

    # Records ------------------------------------------------------------------------------------------

    def upsert(
        self,
        records: str | Path | IntoDataFrame | Iterable[Record | Mapping[str, Any] | str | Path],
        *,
        split: int | None = None,
        columns: Columns | Mapping[str, Any] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> IndexingReport:
        """See :meth:`FeatureIndex.upsert`; return when the server has indexed the records.

        They are streamed as they are read here. A record that cannot be read here counts as rejected.
        """
        from saeindex.indexing.pipeline import IndexingReport
        from saeindex.indexing.sources.columns import Columns
        from saeindex.indexing.sources.open_source import open_source

        picked = Columns.read({} if columns is None else columns)
        source, unread = open_source(records, columns=picked), 0

        def lines() -> Iterator[bytes]:
            nonlocal unread
            unread = 0
            for one in source:
                if isinstance(one, Record):
                    row = {"id": one.id, "text": one.text, "metadata": dict(one.metadata), **one.fields}
                    row |= {} if one.document is None else {"document": one.document}
                    yield json.dumps(row, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"
                else:
                    unread += 1

        named: dict[str, Any] = {"text_field": "text", "id_field": "id"}
        named |= {} if split is None else {"split": split}
        job = self.connection.ask("POST", f"{self._path}/records", params=named, content=lines)
        report = IndexingReport(**self._finished(job, progress)["report"])
        return replace(report, read=report.read + unread, rejected=report.rejected + unread)

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        documents: Sequence[str] | None = None,
        where: str | None = None,
        query_filter: Filter | JsonObject | None = None,
    ) -> int:
        """See :meth:`FeatureIndex.delete`."""
        body = {"ids": _names(ids), "documents": _names(documents), **_condition(where, query_filter)}
        return int(self._post("records/delete", body)["deleted"])

    def get(
        self,
        ids: Sequence[str] | None = None,
        *,
        documents: Sequence[str] | None = None,
        include: Sequence[RecordPart] = ("concepts", "vectors"),
    ) -> list[StoredRecord]:
        """See :meth:`FeatureIndex.get`."""
        body = {"ids": _names(ids), "documents": _names(documents), "include": list(include)}
        found: list[StoredRecord] = self._post("records/get", body)
        return found

    def count(self, where: str | None = None, query_filter: Filter | JsonObject | None = None) -> int:
        """See :meth:`FeatureIndex.count`."""
        return int(self._post("records/count", _condition(where, query_filter))["count"])

    def __len__(self) -> int:
        return self.count()

    def export(
        self,
        path: str | Path,
        where: str | None = None,
        *,
        query_filter: Filter | JsonObject | None = None,
        include: Sequence[RecordPart] = (),
    ) -> int:
        """See :meth:`FeatureIndex.export`; the file is a ``.jsonl``."""
        target, count = Path(path), 0
        checked_suffix(target, (".jsonl",), "an export")
        body = {**_condition(where, query_filter), "include": list(include)}
        with replacing(target) as draft, draft.open("w", encoding="utf-8") as file:
            for line in self.connection.lines(f"{self._path}/records/export", body):
                file.write(line + "\n")
                count += 1
        return count

    # Analyses -----------------------------------------------------------------------------------------

    @takes(DiffOptions)
    def diff(
        self,
        /,
        a: Selection | None = None,
        b: Selection | None = None,
        *,
        groups: Mapping[str, Selection] | None = None,
        by: str | None = None,
        other: RemoteIndex | None = None,
        named: Sequence[str] = (),
        field: str = "",
        **options: Unpack[DiffKeywords],
    ) -> Diff:
        """See :meth:`FeatureIndex.diff`; ``other`` is an index of the same server."""
        given = {"a": _selection(a), "b": _selection(b), "by": by, "named": list(named), "field": field}
        if groups is not None:
            given["groups"] = {name: _selection(one) for name, one in groups.items()}
        found: Diff = self._analysis("diff", given | {"other": other and other.name}, options)
        return found

    @takes(CorrelateOptions)
    def correlate(
        self,
        /,
        concepts: Sequence[str] = (),
        with_concepts: Sequence[str] = (),
        *,
        field: str = "",
        other_field: str | None = None,
        where: Selection | None = None,
        **options: Unpack[CorrelateKeywords],
    ) -> Correlations:
        """See :meth:`FeatureIndex.correlate`."""
        given = {
            "concepts": list(concepts), "with_concepts": list(with_concepts), "field": field,
            "other_field": other_field, "where": _selection(where),
        }  # fmt: skip
        found: Correlations = self._analysis("correlate", given, options)
        return found

    @takes(TriggerOptions)
    def find_triggers(
        self,
        /,
        behaviour: str | int,
        *,
        prompt_field: str = "prompt",
        field: str = "",
        where: Selection | None = None,
        **options: Unpack[TriggerKeywords],
    ) -> Triggers:
        """See :meth:`FeatureIndex.find_triggers`."""
        given = {
            "behaviour": behaviour,
            "prompt_field": prompt_field,
            "field": field,
            "where": _selection(where),
        }
        found: Triggers = self._analysis("triggers", given, options)
        return found

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
        """See :meth:`FeatureIndex.cluster`; ``assign`` of the result is not offered."""
        described = (
            axis if isinstance(axis, str | Mapping) else {axis.name: {v.name: v.texts for v in axis.values}}
        )
        given = {"axis": described, "examples": examples, "where": _selection(where), "field": field}
        found: Clustering = self._analysis("cluster", given | {"method": method, "shown": shown}, {})
        return found

    @takes(DriftOptions)
    def drift(
        self,
        /,
        over: str,
        *,
        where: Selection | None = None,
        field: str = "",
        order: Sequence[Any] | None = None,
        **options: Unpack[DriftKeywords],
    ) -> Drift:
        """See :meth:`FeatureIndex.drift`."""
        listed = None if order is None else list(order)
        given = {"over": over, "where": _selection(where), "field": field, "order": listed}
        found: Drift = self._analysis("drift", given, options)
        return found

    @takes(MonitorOptions)
    def monitor(
        self,
        /,
        reference: Selection | Baseline | Path,
        window: Selection,
        *,
        field: str = "",
        **options: Unpack[MonitorKeywords],
    ) -> Alert:
        """See :meth:`FeatureIndex.monitor`."""
        from saeindex.analysis.monitor.baseline import Baseline

        kept = Baseline.load(reference) if isinstance(reference, Path) else reference
        described = kept.to_json() if isinstance(kept, Baseline) else _selection(kept)
        given = {"reference": described, "window": _selection(window), "field": field}
        found: Alert = self._analysis("monitor", given, options)
        return found

    def baseline(
        self,
        where: Selection | None = None,
        *,
        field: str = "",
        level: LevelName = "typical",
        unit: str | None = "auto",
    ) -> Baseline:
        """See :meth:`FeatureIndex.baseline`."""
        given = {"where": _selection(where), "field": field, "level": level, "unit": unit}
        found: Baseline = self._analysis("baseline", given, {})
        return found

    @takes(DiffOptions, families=("concepts", "words"))
    def profile(
        self,
        /,
        where: Selection | None = None,
        *,
        ids: Iterable[str] | None = None,
        field: str = "",
        shown: int = 5,
        **options: Unpack[DiffKeywords],
    ) -> SetProfile:
        """See :meth:`FeatureIndex.profile`."""
        listed = None if ids is None else list(ids)
        given = {"where": _selection(where), "ids": listed, "field": field, "shown": shown}
        found: SetProfile = self._analysis("profile", given, options)
        return found

    # Profiles and the index itself --------------------------------------------------------------------

    def fit_profile(
        self, name: str, like: Sequence[str] = (), unlike: Sequence[str] = (), description: str | None = None
    ) -> Profile:
        """See :meth:`FeatureIndex.fit_profile`."""
        body = {"name": name, "like": list(like), "unlike": list(unlike), "description": description}
        self._post("profiles", body)
        return self.steering_profile(name)

    @property
    def profiles(self) -> tuple[str, ...]:
        """See :attr:`FeatureIndex.profiles`."""
        return tuple(self._get("profiles")["profiles"])

    def steering_profile(self, name: str) -> Profile:
        """See :meth:`FeatureIndex.steering_profile`."""
        found: Profile = self._get(f"profiles/{name}")
        return found

    def delete_profile(self, name: str) -> None:
        """See :meth:`FeatureIndex.delete_profile`."""
        self.connection.ask("DELETE", f"{self._path}/profiles/{name}")

    def info(self) -> dict[str, Any]:
        """See :meth:`FeatureIndex.info`."""
        found: dict[str, Any] = self.connection.ask("GET", self._path)
        return found

    def metadata_fields(self) -> list[MetadataField]:
        """See :meth:`FeatureIndex.metadata_fields`."""
        found: list[MetadataField] = self._get("fields")
        return found

    def __repr__(self) -> str:
        return f"RemoteIndex({self.name!r}, at {self.connection.url})"

    def _get(self, path: str, **params: Any) -> Any:
        return self.connection.ask("GET", f"{self._path}/{path}", params=params)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.connection.ask("POST", f"{self._path}/{path}", body)

    def _analysis(self, path: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
        body = {name: value for name, value in given.items() if value is not None} | _listed(options)
        params = {"wait": WAIT_AT_ONCE}
        found = self.connection.ask("POST", f"{self._path}/{path}", body, params)
        if not isinstance(found, dict) or "state" not in found:
            return found
        return self.connection.ask("GET", self._finished(found, None)["links"]["result"])

    def _finished(self, job: Mapping[str, Any], progress: Callable[[int], object] | None) -> dict[str, Any]:
        """Wait for the end of a job; raise the error that it ended with."""
        path, seen = job["links"]["self"], 0
        while True:
            now = self.connection.ask("GET", path)
            if progress is not None and now["read"] > seen:
                progress(now["read"] - seen)
                seen = now["read"]
            if now["state"] not in ("queued", "running"):
                break
            time.sleep(LOOK)
        if now["error"] is not None:
            raise error_of(now["error"])
        if now["state"] == "cancelled":
            raise ServerError(f"job {now['id']}", "it was cancelled", "Ask again.")
        found: dict[str, Any] = now
        return found


def query_body(query: str | Query, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a query as the body of a request: what differs from the defaults."""
    asked = replace(query, **options) if isinstance(query, Query) else Query(text=query, **options)
    default = Query()
    described = asked.to_json()
    return {
        name: value for name, value in described.items() if getattr(asked, name) != getattr(default, name)
    }


def _listed(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _number(feature: int | str) -> str:
    return str(feature).removeprefix("#")


def _condition(where: str | None, query_filter: Filter | JsonObject | None) -> dict[str, Any]:
    described = {"where": where, "query_filter": _selection(query_filter)}
    return {name: value for name, value in described.items() if value is not None}


def _selection(selection: Any) -> Any:
    """Return a selection of records as it is sent: a text, a filter's JSON, or a list of ids."""
    if hasattr(selection, "model_dump"):
        return selection.model_dump(mode="json", exclude_none=True)
    if selection is None or isinstance(selection, str | Mapping):
        return selection
    return list(selection)


def _names(given: Sequence[str] | None) -> list[str] | None:
    return None if given is None else list(given)

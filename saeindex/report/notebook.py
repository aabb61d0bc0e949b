"""A result in a notebook: what was found in short, and the first rows of its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from saeindex.report.html import Part, element, listed, paragraphs
from saeindex.report.page import told_of

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.correlate.results import Correlations
    from saeindex.analysis.correlate.triggers import Triggers
    from saeindex.analysis.diff.results import Diff, Finding
    from saeindex.analysis.drift.results import Drift
    from saeindex.analysis.monitor.results import Alert
    from saeindex.analysis.profile.results import SetProfile
    from saeindex.analysis.stats.evidence import Family
    from saeindex.report.export import Analysed

SHOWN = 8
STYLE = Markup("""
.saeindex { max-width: 60rem; }
.saeindex .scroll { overflow-x: auto; }
.saeindex table { border-collapse: collapse; font-size: .92em; margin: .3em 0 .9em; }
.saeindex caption { text-align: left; font-weight: 600; padding: .2em 0; }
.saeindex th, .saeindex td { text-align: left; vertical-align: top; padding: .2em .9em .2em 0; }
.saeindex th { font-weight: 500; }
.saeindex .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.saeindex p { margin: .2em 0; }
""")


def html_of(result: Analysed) -> str:
    """Return a result as a piece of HTML: text from outside is escaped, and there is no script."""
    short = paragraphs(*told_of(result).short)
    notes = listed([f"{note}." for note in getattr(result, "notes", ())])
    style = element("style", STYLE)
    return str(element("div", style, short, *_tables(result), notes, class_="saeindex"))


def _tables(result: Analysed) -> Iterator[Part]:
    yield from TABLES[type(result).__name__](result)


def _of_findings(findings: Mapping[Family, Sequence[Finding]], groups: Sequence[str]) -> Iterator[Part]:
    from saeindex.analysis.diff.charts import FAMILY
    from saeindex.analysis.report.findings import findings_table

    for family, found in findings.items():
        if found:
            yield findings_table(found[:SHOWN], groups, _caption(FAMILY[family], len(found)))


def _of_diff(diff: Diff) -> Iterator[Part]:
    return _of_findings(diff.findings, tuple(diff.groups))


def _of_alert(alert: Alert) -> Iterator[Part]:
    return _of_findings(alert.changed, ("window", "reference"))


def _of_profile(profile: SetProfile) -> Iterator[Part]:
    return _of_findings(profile.distinctive, ("set", "rest"))


def _of_drift(drift: Drift) -> Iterator[Part]:
    from saeindex.analysis.diff.charts import FAMILY
    from saeindex.analysis.report.drift import trends_table

    for family, found in drift.findings.items():
        if found:
            yield trends_table(found[:SHOWN], drift, _caption(FAMILY[family], len(found)))


def _of_correlations(found: Correlations) -> Iterator[Part]:
    from saeindex.analysis.correlate.report import pairs_table

    for name, pairs in (("Go together", found.results), ("Avoid each other", found.avoided)):
        if pairs:
            yield pairs_table(pairs[:SHOWN], _caption(name, len(pairs)))


def _of_triggers(found: Triggers) -> Iterator[Part]:
    from saeindex.analysis.correlate.report import triggers_table

    if found.results:
        yield triggers_table(found.results[:SHOWN], _caption("Triggers", len(found.results)))


def _of_clustering(found: Clustering) -> Iterator[Part]:
    from saeindex.analysis.cluster.report import clusters_table

    yield clusters_table(found.clusters)


def _caption(name: str, count: int) -> str:
    return f"{name}: the first {SHOWN} of {count:,}" if count > SHOWN else name


TABLES: Mapping[str, Callable[[Any], Iterator[Part]]] = {
    "Diff": _of_diff,
    "Alert": _of_alert,
    "SetProfile": _of_profile,
    "Drift": _of_drift,
    "Correlations": _of_correlations,
    "Triggers": _of_triggers,
    "Clustering": _of_clustering,
}

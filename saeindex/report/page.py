"""A result as one readable page: what was asked, how, what was found, and what limits it.

The page is one file that loads nothing and runs nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from saeindex._version import __version__
from saeindex.analysis.report.style import STYLE
from saeindex.errors import InvalidInputError
from saeindex.files import checked_suffix, replacing
from saeindex.report.html import Told, element, joined, paragraphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from saeindex.report.export import Analysed

# Nothing may be loaded or run, whatever stands in labels and texts.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(result: Analysed, path: str | Path, question: str = "") -> Path:
    """Write a result as a page (.html) under ``question``, and return its path.

    InvalidInputError for a name with another ending.
    """
    target = Path(path)
    checked_suffix(target, (".html",), "report")
    told = told_of(result)
    with replacing(target) as draft:
        draft.write_text(_page(told, question.strip() or told.question, _made(result)), encoding="utf-8")
    return target


def told_of(result: Analysed) -> Told:
    """Return a result in words; InvalidInputError for one of an unknown kind."""
    teller = _teller(result)
    if teller is None:
        kind = type(result).__name__
        raise InvalidInputError(f"a report of {kind}", "no way to tell it", "Use its tables.")
    return teller(result)


def _page(told: Told, question: str, made: str) -> str:
    head = joined([
        Markup('<meta charset="utf-8">'),
        Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(POLICY),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", question),
        element("style", STYLE),
    ])  # fmt: skip
    sections = [element("section", element("h2", one.title), one.body) for one in told.sections]
    body = element(
        "main",
        element("h1", question),
        element("div", paragraphs(*told.short), class_="short"),
        *sections,
        element("section", element("h2", "How this was made"), element("p", made, class_="made")),
    )
    return f"<!doctype html>\n{element('html', element('head', head), element('body', body), lang='en')}\n"


def _made(result: Any) -> str:
    counted_by = getattr(result, "counted_by", "")
    how = f" Counted by: {counted_by}." if counted_by else ""
    has_asked = bool(getattr(result, "hypotheses", ()))
    asked = "A language model wrote and checked hypotheses." if has_asked else "No language model was asked."
    return f"By saeindex {__version__} on {datetime.now(UTC):%d %B %Y}. {asked}{how}"


def _teller(result: Analysed) -> Callable[[Any], Told] | None:
    """Return what tells results of this kind."""
    from saeindex.analysis.cluster import report as cluster
    from saeindex.analysis.correlate import report as pairs
    from saeindex.analysis.profile import report as sets
    from saeindex.analysis.report import diff, drift

    known: dict[str, Callable[[Any], Told]] = {
        "Diff": diff.told_of_diff,
        "Correlations": pairs.told_of_correlations,
        "Triggers": pairs.told_of_triggers,
        "Clustering": cluster.told_of_clustering,
        "Drift": drift.told_of_drift,
        "Alert": sets.told_of_alert,
        "SetProfile": sets.told_of_profile,
    }
    return known.get(type(result).__name__)

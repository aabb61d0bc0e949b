"""The commands of analyses: diff, describe, drift, monitor, correlate, triggers, cluster."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.delivery import Delivery, ending
from saeindex.cli.options import asks
from saeindex.cli.output import Index, print_json, say
from saeindex.errors import InvalidInputError
from saeindex.operations.associations import ClusterAlong, Correlate, FindTriggers
from saeindex.operations.differences import Describe, DiffGroups, DriftOver, Monitor

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.diff.hypotheses import HypothesisWriter


@asks(DiffGroups, without=("groups", "other"))
def diff(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A named group, in place of --a and --b: NAME=CONDITION. Repeatable."),
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="Another index with the same space, to compare this whole index with.")
    ] = None,
    hypotheses: Annotated[
        str | None,
        typer.Option(help="Model that writes hypotheses and checks them (key: OPENAI_API_KEY)."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="URL of the model's service (env: OPENAI_BASE_URL).")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum tokens of all requests to the model, input and output.")
    ] = 200_000,
) -> None:
    """Test which concepts, words and clusters differ between groups of records."""
    from saeindex.index import FeatureIndex

    if other is not None and delivery.url is None and Path(other).resolve() == Path(index).resolve():
        do = "Name another index, or compare groups of this one with --a, --group or --by."
        raise InvalidInputError(f"--other {other}", "the index itself", do)
    groups = dict(_group(text) for text in group) if group else None
    writer = _writer(hypotheses, base_url, max_tokens)
    with ExitStack() as stack:
        opened = stack.enter_context(FeatureIndex.open(index, url=delivery.url))
        second = stack.enter_context(FeatureIndex.open(other, url=delivery.url)) if other else None
        found = opened.diff(**options, groups=groups, other=second, writer=writer)
    a, b, by = (options.get(name) for name in ("a", "b", "by"))
    compared = f"{a} against {b or 'all others'}" if a else by or other or ", ".join(groups or ())
    delivery.deliver(found, f"What differs: {compared}?")


@asks(Describe, without=("records",))
def describe(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    where: Annotated[str | None, typer.Option(help="Condition of the set: 'metadata.year >= 2015'.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Id of a record of the set. Repeatable.")
    ] = None,
) -> None:
    """Show the distinctive concepts, words and themes of a set, and its central and odd records."""
    from saeindex.index import FeatureIndex

    chosen = where if where is not None else ids
    if not chosen or (where is not None and ids):
        raise InvalidInputError("a set to describe", "none, or two", "Give --where, or --id.")
    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.describe(chosen, **options)
    delivery.deliver(found, f"What is distinctive of {where or 'this set'}?")


def _writer(model: str | None, base_url: str | None, max_tokens: int) -> HypothesisWriter | None:
    if model is None:
        if base_url is not None:
            raise InvalidInputError(f"--base-url {base_url}", "no --hypotheses", "Give both, or neither.")
        return None
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.encoders.cache import EmbeddingCache

    replies = EmbeddingCache().folder.with_name("hypotheses")
    return HypothesisWriter(model, base_url=base_url, max_tokens=max_tokens, cache=replies)


def _group(text: str) -> tuple[str, str]:
    name, equals, condition = text.partition("=")
    if not equals or not name.strip() or not condition.strip():
        raise InvalidInputError(
            f"--group {text}", "not NAME=CONDITION", "For example: --group old='metadata.year < 1990'."
        )
    return name.strip(), condition.strip()


@asks(DriftOver)
def drift(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Test which concepts and words drift over an ordered field. Exits with 1 if none does."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.drift(**options)
    delivery.deliver(found, f"What drifts over {options['over']}?")


@asks(Monitor, without=("reference", "window"))
def monitor(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    window: Annotated[
        str | None, typer.Option(help="Condition of the records to check: 'metadata.year >= 2015'.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Condition of the records to compare with.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with these saved counts instead of --reference.")
    ] = None,
    save_baseline: Annotated[
        Path | None,
        typer.Option(callback=ending("baseline"), help="Save the counts of --reference to a file (.json)."),
    ] = None,
) -> None:
    """Compare a window of records with a reference. Exits with 0 if unchanged, 1 with an alert."""
    from saeindex.index import FeatureIndex

    if (reference is None) == (baseline is None) or (window is None and save_baseline is None):
        found = "two references" if reference and baseline else "no reference or no window"
        raise InvalidInputError("monitor", found, "Give --window, and --reference or --baseline.")
    with FeatureIndex.open(index, url=delivery.url) as opened:
        if save_baseline is not None and reference is not None:
            kept = {name: one for name, one in options.items() if name in ("field", "level", "unit")}
            opened.baseline(reference, **kept).save(save_baseline)
        if window is None:
            written = str(save_baseline)
            print_json({"written": [written]}) if delivery.as_json else say(f"wrote {written}")
            return
        against: Any = baseline or reference
        alert = opened.monitor(against, window, **options)
    delivery.deliver(alert, "What has changed?", fails_empty=False)
    if len(alert):
        raise typer.Exit(1)


@asks(Correlate, concepts="concept", with_concepts="with_concept")
def correlate(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Find concepts that occur together more often, or less often, than by chance.

    A concept is NAME=DESCRIPTION (further parts after semicolons: against: TEXT; share: 0.05),
    NAME=like: ID, ID; unlike: ID, NAME=#12,#41@strong, or NAME=metadata.FIELD=VALUE.
    """
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.correlate(**options)
    named = ", ".join(options.get("concepts", ()))
    delivery.deliver(found, f"Which concepts occur with {named}?" if named else "")


@asks(FindTriggers, arguments=("behaviour",))
def triggers(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
) -> None:
    """Find concepts of prompts that trigger a behaviour of the responses, with examples."""
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.triggers(**options)
    delivery.deliver(found)


Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar="VALUE=ID", help="The id of a record that has a value. Repeatable."),
]


@asks(ClusterAlong, without=("examples",))
def cluster(
    index: Index,
    options: dict[str, Any],
    delivery: Delivery,
    example: Examples = None,
    assign_to: Annotated[
        Path | None,
        typer.Option(callback=ending("table"), help="Write the cluster of every record to this CSV file."),
    ] = None,
) -> None:
    """Cluster records along one axis. Exits with 1 if the space cannot express the axis.

    Values can have descriptions: 'tone: angry = furious; calm = at ease'. With a name only, they are found.
    """
    from saeindex.index import FeatureIndex

    with FeatureIndex.open(index, url=delivery.url) as opened:
        found = opened.cluster(**options, examples=read_examples(example or ()) or None)
    if assign_to is not None:
        write_assignments(found, assign_to)
    delivery.deliver(found)
    if not found.verdict.expressible:
        raise typer.Exit(1)


def read_examples(given: list[str] | tuple[str, ...]) -> dict[str, list[str]]:
    """Return record ids by value; InvalidInputError for a text that is not VALUE=ID."""
    found: dict[str, list[str]] = {}
    for text in given:
        value, equals, record = text.partition("=")
        if not equals or not value.strip() or not record.strip():
            raise InvalidInputError(f"--example {text!r}", "not VALUE=ID", "Write --example angry=doc-17.")
        found.setdefault(value.strip(), []).append(record.strip())
    return found


def write_assignments(found: Clustering, path: Path) -> None:
    """Write a CSV file with the id, the cluster and the confidence of every record."""
    from saeindex.files import replacing
    from saeindex.report.result import write_csv

    rows = found.tables()["assignments"]
    with replacing(path) as draft:
        write_csv({name: [row[name] for row in rows] for name in ("id", "cluster", "confidence")}, draft)

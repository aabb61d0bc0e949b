"""The commands of analyses: diff, describe, drift, monitor, correlate, triggers, cluster, evaluate."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeindex.cli.options import asks
from saeindex.cli.output import Index, Json, Url, answer, console, print_json
from saeindex.errors import InvalidInputError
from saeindex.operations.associations import ClusterAlong, Correlate, FindTriggers
from saeindex.operations.differences import Describe, DiffGroups, DriftOver, Monitor
from saeindex.operations.evaluation import Evaluate

if TYPE_CHECKING:
    from saeindex.analysis.cluster.results import Clustering
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.report.result import AnalysisResult

# Nothing could be compared, as asked: wrong use, as an empty group is.
NOT_COMPARABLE = 2
Options = dict[str, Any]


def ending(what: str, *known: str) -> Callable[[Path | None], Path | None]:
    """Return an option callback that refuses files that cannot be written, or do not end in one of ``known``.

    Any ending is accepted if none is given.
    """

    def checked(path: Path | None) -> Path | None:
        if path is not None:
            from saeindex.files import checked_suffix, writable

            if known:
                checked_suffix(path, known, what)
            writable(path)
        return path

    return checked


@dataclass(frozen=True, slots=True)
class Delivery:
    """The options of every analysis: where the index is, and what is made of the result."""

    table: Annotated[
        Path | None,
        typer.Option(
            callback=ending("table", ".csv", ".parquet"),
            help="Write the tables: t.csv (or .parquet) makes t-concepts.csv, t-words.csv and so on.",
        ),
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(
            callback=ending("chart", ".html", ".png"),
            help="Write the charts: .html (one file, works offline) or .png.",
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option(
            callback=ending("report", ".html"), help="Write a page (.html) with method, findings and limits."
        ),
    ] = None
    url: Url = None
    as_json: Json = False

    def asked(self, index: str, method: str, options: Options, **more: Any) -> Any:
        """Return the result of an analysis of an index."""
        from saeindex.index import FeatureIndex

        with FeatureIndex.open(index, url=self.url) as opened:
            return getattr(opened, method)(**options, **more)

    def deliver(self, result: AnalysisResult, question: str = "", fails_empty: bool = True) -> None:
        """Print a result and write the requested files; exit with 1 if nothing was found.

        Where nothing could be compared the exit is 2. With ``fails_empty`` off, an empty result does not
        exit: the caller decides.
        """
        files: list[Path] = [] if self.table is None else result.write_tables(self.table)
        files += [] if self.plot is None else [result.write_charts(self.plot)]
        files += [] if self.report is None else [result.write_report(self.report, question)]
        written = [str(path) for path in files]
        if self.as_json:
            print_json(result.to_json() | ({"written": written} if written else {}))
        else:
            console().print(str(result), markup=False, soft_wrap=True)
            for path in written:
                console().print(f"wrote {path}", style="dim", markup=False)
        if result.not_comparable and not len(result):
            raise typer.Exit(NOT_COMPARABLE)
        if fails_empty and not result.has_findings:
            raise typer.Exit(1)


@asks(DiffGroups, without=("groups", "other"))
def diff(
    index: Index,
    options: Options,
    delivery: Delivery,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A named group, in place of --a and --b: NAME=CONDITION. Repeatable."),
    ] = None,
    other: Annotated[
        str | None, typer.Option(help="Another index with the same space, to compare this whole index with.")
    ] = None,
    hypotheses: Annotated[
        str | None, typer.Option(help="Model that writes hypotheses and checks them (key: OPENAI_API_KEY).")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="URL of the model's service (env: OPENAI_BASE_URL).")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum tokens of all requests to the model, input and output.")
    ] = 200_000,
) -> None:
    """Test which concepts, words and clusters differ between groups of records. Exits with 1 if none does."""
    from saeindex.index import FeatureIndex

    if other is not None and delivery.url is None and Path(other).resolve() == Path(index).resolve():
        do = "Name another index, or compare groups of this one with --a, --group or --by."
        raise InvalidInputError(f"--other {other}", "the index itself", do)
    do = "For example: --group old='metadata.year < 1990'."
    groups = dict(_pair(text, f"--group {text}", "not NAME=CONDITION", do) for text in group or ()) or None
    writer = _writer(hypotheses, base_url, max_tokens)
    with ExitStack() as stack:
        second = stack.enter_context(FeatureIndex.open(other, url=delivery.url)) if other else None
        found = delivery.asked(index, "diff", options, groups=groups, other=second, writer=writer)
    a, b, by = (options.get(name) for name in ("a", "b", "by"))
    compared = f"{a} against {b or 'all others'}" if a else by or other or ", ".join(groups or ())
    delivery.deliver(found, f"What differs: {compared}?")


def _pair(text: str, asked: str, found: str, do: str) -> tuple[str, str]:
    """Return the two sides of NAME=VALUE."""
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or not value:
        raise InvalidInputError(asked, found, do)
    return name, value


def _writer(model: str | None, base_url: str | None, max_tokens: int) -> HypothesisWriter | None:
    if model is None and base_url is not None:
        raise InvalidInputError(f"--base-url {base_url}", "no --hypotheses", "Give both, or neither.")
    if model is None:
        return None
    from saeindex.analysis.diff.hypotheses import HypothesisWriter
    from saeindex.encoders.cache import EmbeddingCache

    replies = EmbeddingCache().folder.with_name("hypotheses")
    return HypothesisWriter(model, base_url=base_url, max_tokens=max_tokens, cache=replies)


@asks(Describe, without=("records",))
def describe(
    index: Index,
    options: Options,
    delivery: Delivery,
    where: Annotated[str | None, typer.Option(help="Condition of the set: 'metadata.year >= 2015'.")] = None,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Id of a record of the set. Repeatable.")
    ] = None,
) -> None:
    """Show the distinctive concepts, words and themes of a set, and its central and odd records."""
    chosen = where if where is not None else ids
    if not chosen or (where is not None and ids):
        raise InvalidInputError("a set to describe", "none, or two", "Give --where, or --id.")
    found = delivery.asked(index, "describe", options, records=chosen)
    delivery.deliver(found, f"What is distinctive of {where or 'this set'}?")


@asks(DriftOver)
def drift(index: Index, options: Options, delivery: Delivery) -> None:
    """Test which concepts and words drift over an ordered field. Exits with 1 if none does."""
    delivery.deliver(delivery.asked(index, "drift", options), f"What drifts over {options['over']}?")


@asks(Monitor, without=("reference", "window"))
def monitor(
    index: Index,
    options: Options,
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
    if (reference is None) == (baseline is None) or (window is None and save_baseline is None):
        found = "two references" if reference and baseline else "no reference or no window"
        raise InvalidInputError("monitor", found, "Give --window, and --reference or --baseline.")
    if save_baseline is not None and reference is not None:
        kept = {name: one for name, one in options.items() if name in ("field", "level", "unit")}
        delivery.asked(index, "baseline", kept, where=reference).save(save_baseline)
    if window is None:
        answer({"written": [str(save_baseline)]}, f"wrote {save_baseline}", delivery.as_json)
        return
    alert = delivery.asked(index, "monitor", options, reference=baseline or reference, window=window)
    delivery.deliver(alert, "What has changed?", fails_empty=False)
    if len(alert):
        raise typer.Exit(1)


@asks(Correlate, concepts="concept", with_concepts="with_concept")
def correlate(index: Index, options: Options, delivery: Delivery) -> None:
    """Find concepts that occur together more often, or less often, than by chance.

    A concept is NAME=DESCRIPTION (further parts after semicolons: against: TEXT; share: 0.05),
    NAME=like: ID, ID; unlike: ID, NAME=#12,#41@strong, or NAME=metadata.FIELD=VALUE.
    """
    named = ", ".join(options.get("concepts", ()))
    question = f"Which concepts occur with {named}?" if named else ""
    delivery.deliver(delivery.asked(index, "correlate", options), question)


@asks(FindTriggers, arguments=("behaviour",))
def triggers(index: Index, options: Options, delivery: Delivery) -> None:
    """Find concepts of prompts that trigger a behaviour of the responses, with examples."""
    delivery.deliver(delivery.asked(index, "triggers", options))


@asks(ClusterAlong, without=("examples",))
def cluster(
    index: Index,
    options: Options,
    delivery: Delivery,
    example: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=ID", help="The id of a record that has a value. Repeatable."),
    ] = None,
) -> None:
    """Cluster records along one axis. Exits with 1 if the space cannot express the axis.

    Values can have descriptions: 'tone: angry = furious; calm = at ease'. With a name only, they are found.
    """
    found: Clustering = delivery.asked(
        index, "cluster", options, examples=read_examples(example or []) or None
    )
    delivery.deliver(found)
    if not found.verdict.expressible:
        raise typer.Exit(1)


def read_examples(given: list[str] | tuple[str, ...]) -> dict[str, list[str]]:
    """Return record ids by value; InvalidInputError for a text that is not VALUE=ID."""
    found: dict[str, list[str]] = {}
    for text in given:
        value, record = _pair(text, f"--example {text!r}", "not VALUE=ID", "Write --example angry=doc-17.")
        found.setdefault(value, []).append(record)
    return found


@asks(Evaluate, without=("questions", "searches"))
def evaluate(
    index: Index,
    options: Options,
    delivery: Delivery,
    questions: Annotated[
        Path | None,
        typer.Argument(help="JSON lines, a table or a BEIR folder; without it, questions are drafted."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help='A search to compare: \'NAME={"using": "words"}\'. Repeatable.'),
    ] = None,
    save_questions: Annotated[
        Path | None,
        typer.Option(
            callback=ending("questions", ".jsonl"), help="Write the questions (.jsonl), to correct."
        ),
    ] = None,
) -> None:
    """Measure how well searches answer questions whose answers are known: nDCG, recall, reciprocal rank."""
    searches = {}
    for text in search or ():
        do = """For example: --search 'by words={"using": "words"}'."""
        name, given = _pair(text, f"--search {text}", "not NAME=OPTIONS", do)
        if name in searches:
            raise InvalidInputError(
                f"--search {text}", f"a second one named {name!r:.80}", "Give it another name."
            )
        try:
            searches[name] = json.loads(given)
        except ValueError as error:
            raise InvalidInputError(f"--search {text}", f"not JSON ({error})", do) from None
    found = delivery.asked(index, "evaluate", options, questions=questions, searches=searches)
    if save_questions is not None:
        found.save_questions(save_questions)
    delivery.deliver(found, fails_empty=False)

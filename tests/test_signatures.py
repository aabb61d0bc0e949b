"""Users see every option: in help and completion, in type checkers, on the command line and in the docs."""

from __future__ import annotations

import inspect
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from mypy import api as mypy

from saeindex import AsyncFeatureIndex, FeatureIndex, Query
from saeindex.analysis.correlate.options import (
    CorrelateKeywords,
    CorrelateOptions,
    TriggerKeywords,
    TriggerOptions,
)
from saeindex.analysis.diff.options import DiffKeywords, DiffOptions
from saeindex.analysis.drift.options import DriftKeywords, DriftOptions
from saeindex.analysis.monitor.options import MonitorKeywords, MonitorOptions
from saeindex.cli.app import make_app
from saeindex.errors import InvalidInputError
from saeindex.search.query import QueryKeywords

ROOT = Path(__file__).parents[1]
QUERIES = (
    "search",
    "search_many",
    "plan",
    "explain_analyze",
    "compare",
    "concept_facets",
    "suggest_exclusions",
)
SOURCES: dict[str, type] = {
    **dict.fromkeys(QUERIES, Query),
    "diff": DiffOptions,
    "correlate": CorrelateOptions,
    "find_triggers": TriggerOptions,
    "drift": DriftOptions,
    "monitor": MonitorOptions,
    "profile": DiffOptions,
}
WRITTEN_OUT = ("create", "open", "cluster")
KEYWORDS = [
    (Query, QueryKeywords), (DiffOptions, DiffKeywords), (CorrelateOptions, CorrelateKeywords),
    (TriggerOptions, TriggerKeywords), (DriftOptions, DriftKeywords), (MonitorOptions, MonitorKeywords),
]  # fmt: skip
# Options with another name, and defaults with another spelling, on the command line.
RENAMED = {
    "families": "evidence",
    "filter": "filter_json",
    "query_filter": "filter_json",
    "examples": "examples",
}
COMMANDS = {
    "search": "search", "diff": "diff", "correlate": "correlate", "find_triggers": "triggers",
    "drift": "drift", "monitor": "monitor", "profile": "profile",
}  # fmt: skip
PYTHON_ONLY = {"seed", "hints", "with_trivial"}
# The command line has the options of the printed profile; the others are Python's.
OF_PROFILE = {"unit", "level", "alpha"}

ABOUT = (
    "What the methods of `FeatureIndex` take, by name, type and default. `help(FeatureIndex.search)` says",
    "the same, and `AsyncFeatureIndex` takes them too. Made by `python -m tests.test_signatures`.",
)


def options_of(name: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(getattr(FeatureIndex, name)).parameters
    return {key: one for key, one in parameters.items() if key != "self"}


@pytest.mark.parametrize("name", [*SOURCES, *WRITTEN_OUT])
def test_no_option_is_hidden(name: str) -> None:
    kinds = {one.kind for one in options_of(name).values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


@pytest.mark.parametrize("name", SOURCES)
def test_the_fields_of_one_dataclass_are_the_options(name: str) -> None:
    shown, own = options_of(name), {"text"}
    defaults = {"families": ("concepts", "words")} if name == "profile" else {}
    if name in ("concept_facets", "suggest_exclusions"):
        own.add("limit")  # these describe their return value
    for one in fields(SOURCES[name]):
        if one.name not in own:
            assert shown[one.name].default == defaults.get(one.name, one.default), one.name
            assert shown[one.name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(("kind", "keywords"), KEYWORDS)
def test_type_checkers_see_the_same_names_and_types(kind: type, keywords: type) -> None:
    declared = {
        name: str(note.__forward_arg__ if isinstance(note, typing.ForwardRef) else note)
        for base in reversed(keywords.__mro__)
        for name, note in inspect.get_annotations(base).items()
    }
    assert declared == {one.name: one.type for one in fields(kind) if one.name != "text"}


@pytest.mark.parametrize("name", [*SOURCES, *WRITTEN_OUT])
def test_the_async_method_has_the_same_options(name: str) -> None:
    parameters = inspect.signature(getattr(AsyncFeatureIndex, name)).parameters
    async_options = {key: one.default for key, one in parameters.items() if key not in ("self", "workers")}
    assert async_options == {key: one.default for key, one in options_of(name).items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_has_the_same_options_and_defaults(name: str) -> None:
    root: Any = typer.main.get_command(make_app())
    parameters_of_command = {one.name: one for one in root.commands[COMMANDS[name]].params}
    for one in fields(SOURCES[name]):
        if one.name in PYTHON_ONLY | {"text", "feedback"} or (
            name == "profile" and one.name not in OF_PROFILE
        ):
            continue
        option = parameters_of_command[RENAMED.get(one.name, one.name)]
        assert option.help or one.name == "text"
        default = option.default
        if one.name == "families":
            default = tuple(default.split(","))
        if name == "correlate" and one.name == "limit":
            continue  # 100 there, whatever is correlated
        assert default == one.default or (default is None and not one.default), one.name


def test_the_page_of_options_equals_the_signatures() -> None:
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options_page()


def test_a_misspelt_option_is_an_error_that_lists_the_right_ones(papers: FeatureIndex) -> None:
    for call in (
        lambda: papers.search("a", limmit=3),  # type: ignore[call-arg]
        lambda: papers.search("a", text="b"),  # type: ignore[call-arg]
        lambda: papers.diff("#1", alhpa=0.1),  # type: ignore[call-arg]
        lambda: papers.correlate(levle="strong"),  # type: ignore[call-arg]
    ):
        with pytest.raises(InvalidInputError, match=r"no option .* Use .*(limit|alpha)"):
            call()


def test_the_type_checker_refuses_a_misspelt_option(tmp_path: Path) -> None:
    sample = tmp_path / "misspelt.py"
    sample.write_text(
        "from saeindex import FeatureIndex\n\n\ndef found(index: FeatureIndex) -> None:\n"
        '    index.search("galaxies", limit=3)\n    index.search("galaxies", limmit=3)\n'
    )
    output, _, code = mypy.run(["--config-file", str(ROOT / "pyproject.toml"), str(sample)])
    assert code == 1
    assert output.count("error:") == 1
    assert 'misspelt.py:6: error: Unexpected keyword argument "limmit"' in output


def options_page() -> str:
    """Return docs/options.md."""
    lines = ["# Options", "", *ABOUT, ""]
    for name in ("create", "open", *SOURCES, "cluster"):
        lines += [f"## `{name}`", "", "| option | type | default |", "| --- | --- | --- |"]
        for key, one in options_of(name).items():
            kind = str(one.annotation).replace("|", "\\|")
            default = "" if one.default is inspect.Parameter.empty else f"`{one.default!r}`"
            lines.append(f"| `{key}` | {kind} | {default} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "docs" / "options.md").write_text(options_page(), encoding="utf-8")


def test_a_misspelt_option_is_answered_with_the_nearest_one(papers: FeatureIndex) -> None:
    with pytest.raises(InvalidInputError, match="Did you mean limit"):
        papers.search("a", limt=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="Give a list"):
        papers.diff("metadata.year < 2005", "metadata.year >= 2005", strata="metadata.topic")

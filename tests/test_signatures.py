"""Users see every option: in help and completion, in type checkers and in the docs, all of one definition."""

from __future__ import annotations

import inspect
import types
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from mypy import api as mypy
from pydantic import WithJsonSchema

from saeindex import AsyncFeatureIndex, FeatureIndex
from saeindex.errors import InvalidInputError
from saeindex.operations.surfaces import OPERATIONS
from saeindex.schema import OrFirst

ROOT = Path(__file__).parents[1]
ABOUT = (
    "What the operations of an index take, on every surface: the methods of `FeatureIndex`, of its async",
    "twin and of the client (`index.concepts.find`), the routes of the server (`…/concepts/find`), and the",
    "options of commands (`--limit`). An option that is an object can be given as its first field.",
    "Made by `python -m tests.test_signatures`.",
)

JSON_KINDS = {"string": "text", "object": "object", "array": "list", "integer": "whole number"}


def shown(kind: Any) -> str:
    """Return a type in words."""
    if get_origin(kind) is Annotated:
        inner, *marks = get_args(kind)
        is_object = any(isinstance(one, OrFirst) for one in marks)
        schema = next((one.json_schema for one in marks if isinstance(one, WithJsonSchema)), None)
        if schema is not None:
            kinds = [one["type"] for one in schema.get("anyOf", [schema])]
            return " or ".join(JSON_KINDS[one] for one in kinds)
        return f"text or `{inner.__name__}`" if is_object else shown(inner)
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(shown(one) for one in get_args(kind) if one is not type(None)))
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    if get_origin(kind) is not None:
        inner = [shown(one) for one in get_args(kind) if one is not ...]
        is_object = issubclass(get_origin(kind), dict) or len(inner) > 1
        return "object" if is_object else f"list of {inner[0] if inner else 'values'}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "see there"}
    return names.get(kind, f"`{getattr(kind, '__name__', kind)}`")


def options_page() -> str:
    """Return docs/options.md."""
    lines, objects = ["# Options", "", *ABOUT, ""], {}
    for name, kind in OPERATIONS.items():
        lines += [f"## `{name}`", "", (inspect.getdoc(kind) or "").partition("\n\n")[0], "", *table(kind)]
        for field in kind.__pydantic_fields__.values():
            for one in (*get_args(field.annotation), field.annotation):
                inner = get_args(one)[0] if get_origin(one) is Annotated else one
                if hasattr(inner, "__pydantic_fields__") and not hasattr(inner, "model_fields"):
                    objects[inner.__name__] = inner
    for name, kind in objects.items():
        lines += [f"## `{name}`", "", (inspect.getdoc(kind) or "").partition("\n\n")[0], "", *table(kind)]
    return "\n".join(lines)


def table(kind: Any) -> list[str]:
    """Return the options of a request as a table."""
    if not kind.__pydantic_fields__:
        return ["It has no options.", ""]
    rows = ["| option | type | default | what it is |", "| --- | --- | --- | --- |"]
    placed = {field.name for field in fields(kind) if not field.kw_only}
    for name, one in sorted(kind.__pydantic_fields__.items(), key=lambda item: item[0] not in placed):
        marks = [one for one in one.metadata if isinstance(one, WithJsonSchema)]
        kind_of = Annotated[one.annotation, *marks] if marks else one.annotation
        given = None if one.is_required() else one.get_default(call_default_factory=True)
        default = "" if given in (None, (), "", {}) else f"`{given!r}`"
        said = (one.description or "").replace("|", "\\|")
        rows.append(f"| `{name}` | {'' if one.exclude else shown(kind_of)} | {default} | {said} |")
    return [*rows, ""]


def test_the_page_of_options_is_that_of_the_requests() -> None:
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options_page()


def test_help_and_completion_show_every_option() -> None:
    for surface in (FeatureIndex, AsyncFeatureIndex):
        shown_options = inspect.signature(surface.search).parameters
        assert list(shown_options)[:2] == ["self", "text"] and "explain" in shown_options
        assert "galaxy rotation" in (inspect.getdoc(surface.search) or "")


def test_a_misspelt_option_is_an_error_that_lists_the_right_ones(papers: FeatureIndex) -> None:
    for call in (
        lambda: papers.search("a", limmit=3),  # type: ignore[call-overload]
        lambda: papers.diff("#1", alhpa=0.1),  # type: ignore[call-arg]
        lambda: papers.correlate(levle="strong"),  # type: ignore[call-arg]
    ):
        with pytest.raises(InvalidInputError, match=r"no option .* Did you mean .* Use .*(limit|alpha)"):
            call()
    with pytest.raises(InvalidInputError, match="twice"):
        papers.search("a", text="b")  # type: ignore[call-overload]
    with pytest.raises(InvalidInputError, match="Give a list"):
        papers.diff("metadata.year < 2005", strata="metadata.topic")


@pytest.mark.slow
def test_the_type_checker_knows_the_options(tmp_path: Path) -> None:
    sample = tmp_path / "misspelt.py"
    sample.write_text(
        "from saeindex import AsyncFeatureIndex, Client, FeatureIndex\n\n\n"
        "async def found(index: FeatureIndex, twin: AsyncFeatureIndex, client: Client) -> None:\n"
        '    first: str = index.search("galaxies", limit=3)[0].id\n'
        '    second: int = (await twin.search("galaxies", limit=3))[0].id\n'
        '    index.diff("#1", alhpa=0.1)\n    client.index("a").count("#1", None)\n'
    )
    output, _, code = mypy.run(["--config-file", str(ROOT / "pyproject.toml"), str(sample)])
    assert code == 1 and output.count("error:") == 2, output
    assert "misspelt.py:6: error: Incompatible types" in output
    assert 'misspelt.py:7: error: Unexpected keyword argument "alhpa"' in output


if __name__ == "__main__":
    (ROOT / "docs" / "options.md").write_text(options_page(), encoding="utf-8")

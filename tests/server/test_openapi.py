"""The description of the server, which is committed; ``python -m tests.server.test_openapi`` writes it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter
from saeindex_server import requests
from saeindex_server.app import create_app
from saeindex_server.settings import ServerSettings

from saeindex import FeatureIndex
from saeindex.analysis.correlate.options import CorrelateOptions, TriggerOptions
from saeindex.analysis.diff.options import DiffOptions
from saeindex.analysis.drift.options import DriftOptions
from saeindex.analysis.monitor.options import MonitorOptions
from saeindex.search.query import Query

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
# The models, the dataclass of their options, and the Python method with the further ones.
METHODS = {
    "SearchBody": (Query, "search"),
    "DiffBody": (DiffOptions, "diff"),
    "CorrelateBody": (CorrelateOptions, "correlate"),
    "TriggersBody": (TriggerOptions, "find_triggers"),
    "DriftBody": (DriftOptions, "drift"),
    "MonitorBody": (MonitorOptions, "monitor"),
    "ProfileBody": (DiffOptions, "profile"),
}
# A model in the server's process cannot be sent; it needs a language model's key.
LOCAL_ONLY = {"writer", "query"}


def text_of(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


def test_the_committed_description_is_that_of_the_code(client: TestClient) -> None:
    assert FILE.read_text(encoding="utf-8") == text_of(client.get("/openapi.json").json())


@pytest.mark.parametrize("name", METHODS)
def test_a_body_has_the_options_of_the_python_method(name: str) -> None:
    from inspect import signature

    kind, method = METHODS[name]
    own = set(signature(getattr(FeatureIndex, method)).parameters) - {"self", "options"} - LOCAL_ONLY
    taken = set(getattr(requests, name).model_fields)
    assert taken == own | {one.name for one in fields(kind)}


@pytest.mark.parametrize("name", requests.EXAMPLES)
def test_an_example_can_be_sent(name: str) -> None:
    TypeAdapter(getattr(requests, name)).validate_python(requests.EXAMPLES[name])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServerSettings(state=Path(folder)), ["papers.idx"])
        FILE.write_text(text_of(app.openapi()), encoding="utf-8")

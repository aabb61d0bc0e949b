"""The description of the server, which is committed; ``python -m tests.server.test_openapi`` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from saeindex_server.app import create_app
from saeindex_server.schemas import EXAMPLES, schema_name
from saeindex_server.settings import ServerSettings

from saeindex.operations.surfaces import OPERATIONS
from saeindex.schema import from_json

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def text_of(description: dict[str, Any]) -> str:
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


def test_the_committed_description_is_that_of_the_code(client: TestClient) -> None:
    assert FILE.read_text(encoding="utf-8") == text_of(client.get("/openapi.json").json())


def test_every_option_of_a_request_is_described(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for kind in OPERATIONS.values():
        for name, option in schemas[schema_name(kind)].get("properties", {}).items():
            assert option.get("description"), (kind.name, name)


def test_every_operation_has_a_route_of_its_name(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {f"/v1/indexes/{{name}}/{name}" for name in OPERATIONS} <= paths.keys()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name in OPERATIONS])
def test_an_example_can_be_sent(name: str) -> None:
    from_json(OPERATIONS[name], EXAMPLES[name])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServerSettings(state=Path(folder), workbench=False), ["papers.idx"])
        FILE.write_text(text_of(app.openapi()), encoding="utf-8")

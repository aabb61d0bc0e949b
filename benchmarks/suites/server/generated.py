"""Requests generated from the server's description, for every route: how they are answered.

Most are near a request that is known to work, with up to two other members that fit the description and
take values that mean something here. One in eight fits the description and nothing more, one in eight does
not fit it.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import httpx2
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from benchmarks.suites.server.samples import INDEX, SAMPLES, Sample, filled

AnyCase: TypeAlias = Case[Any]

SEED = 0
JSON, NDJSON = "application/json", "application/x-ndjson"
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
# Streams of events end with their job; they are tried apart.
STREAMS = {("GET", "/v1/jobs/{identity}/events")}
# What removes much, and what starts a job that keeps other writes out.
LAST = (("POST", f"{INDEX}/delete"), ("POST", f"{INDEX}/records"))
MOST_MEMBERS, OTHERS = 2, 8


class Client(Protocol):
    """What sends a request."""

    def request(self, method: str, url: str, *, content: Any, headers: Any) -> httpx2.Response:
        """Send a request."""
        ...


@dataclass(slots=True)
class Tried:
    """How the requests of one route were answered."""

    route: tuple[str, str]
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of requests."""
        return sum(self.statuses.values())

    @property
    def accepted(self) -> float:
        """The share that was answered with what was asked for, or that there is none."""
        good = sum(count for status, count in self.statuses.items() if status < 300 or status == 404)
        return good / max(1, self.count)


def tried(
    client: Client,
    description: Mapping[str, Any],
    values: Mapping[str, list[Any]],
    replaced: Mapping[str, Any],
    each: int,
) -> Iterator[Tried]:
    """Send ``each`` requests to every route but streams of events; routes that remove much come last.

    ``values`` are those that mean something, by the name of their member or parameter, or by the name of the
    body and its member; ``replaced`` are the texts for which the sample requests have placeholders.
    """
    meaning = schemathesis.openapi.from_dict(with_values(description, values))
    plain = schemathesis.openapi.from_dict(with_values(description, {}))
    for route in sorted(SAMPLES, key=_order):
        if route not in STREAMS:
            yield _tried_route(client, (meaning, plain), route, replaced, each)


def _order(route: tuple[str, str]) -> tuple[int, bool]:
    return LAST.index(route) + 1 if route in LAST else 0, route[0] == "DELETE"


def with_values(description: Mapping[str, Any], values: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return a description whose members and parameters of these names take only these values.

    It asks for no key: every request has one.
    """
    found = deepcopy(dict(description))
    for body, schema in found["components"]["schemas"].items():
        if not body.endswith(("Body", "Request")):
            continue  # replies stay as they are
        for name in schema.get("properties", {}):
            meant = values.get(f"{body}.{name}", values.get(name))
            if meant is not None:
                schema["properties"][name] = {"enum": meant}
    for methods in found["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
            for parameter in operation.get("parameters", []):
                if parameter["name"] in values:
                    parameter["schema"] = {"enum": values[parameter["name"]]}
    return found


def _tried_route(
    client: Client,
    schemas: tuple[Any, Any],
    route: tuple[str, str],
    replaced: Mapping[str, Any],
    each: int,
) -> Tried:
    found, sample, (method, path) = Tried(route), filled(SAMPLES[route], replaced), route
    dice = random.Random(f"{SEED} {route}")
    modes = [
        (schemas[0], GenerationMode.POSITIVE, each - 2 * (each // OTHERS)),
        (schemas[1], GenerationMode.POSITIVE, each // OTHERS),
        (schemas[1], GenerationMode.NEGATIVE, each // OTHERS),
    ]
    for schema, mode, count in modes:
        operation = schema[path][method]
        if mode == GenerationMode.NEGATIVE and not (operation.body or sample.params):
            continue  # nothing that could be wrong
        for case in _drawn(operation.as_strategy(mode), count):
            if schema is schemas[0]:
                _bring_near(case, sample, dice)
                case.path_parameters = dict(sample.path)
            if "{name}" in path:
                case.path_parameters = {**(case.path_parameters or {}), "name": replaced["INDEX"]}
            _answered(client, case, found)
    return found


def _drawn(strategy: SearchStrategy[AnyCase], count: int) -> list[AnyCase]:
    """Return up to ``count`` cases, the same ones every time."""
    drawn: list[AnyCase] = []
    if count:

        @seed(SEED)
        @settings(
            max_examples=count, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=strategy)
        def draw(case: AnyCase) -> None:
            drawn.append(case)

        draw()
    return drawn


def _bring_near(case: AnyCase, sample: Sample, dice: random.Random) -> None:
    """Keep few of the members of a request; all others are those of the sample."""
    if case.media_type == NDJSON:
        names = ["id", "text", "year", "n"]
        rows = [{name: f"{dice.random()}" for name in names} for _ in range(dice.randint(1, 5))]
        case.body = "".join(json.dumps(row) + "\n" for row in rows)
    elif isinstance(sample.body, dict) and isinstance(case.body, dict):
        case.body = _mixed(sample.body, case.body, dice)
    case.query = _mixed(sample.params, dict(case.query or {}), dice)


def _mixed(sample: dict[str, Any], generated: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    kept = dice.sample(sorted(generated), min(len(generated), dice.randint(0, MOST_MEMBERS)))
    return {**sample, **{name: generated[name] for name in kept}}


def _answered(client: Client, case: AnyCase, found: Tried) -> None:
    """Send a request; note how it was answered, and each fault of the answer."""
    sent = case.as_transport_kwargs(base_url="http://localhost")
    prepared = requests.Request(**sent).prepare()
    url = str(prepared.url).removeprefix("http://localhost")
    response = client.request(case.method, url, content=prepared.body, headers=dict(prepared.headers))
    found.statuses[response.status_code] += 1
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as failures:
        said = "; ".join(f"{one.title}: {one.message:.300}" for one in failures.exceptions)
        body = str(prepared.body or "")
        found.faults.append(f"{case.method} {url:.200} {body:.300} → {response.status_code}: {said}")

"""The application: routes, limits and problems around one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi

from saeindex._version import __version__
from saeindex.operations.operation import json_schema
from saeindex.operations.surfaces import OPERATIONS
from saeindex_server.limits import Middleware
from saeindex_server.problems import Problem, add_handlers
from saeindex_server.routes import embeddings, jobs, operations, records, server
from saeindex_server.schemas import (
    EXAMPLES,
    CreateBody,
    EmbeddingsBody,
    RecordsBody,
    VectorStoreBody,
    schema_name,
)
from saeindex_server.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from saeindex_server.settings import ServerSettings

ABOUT = """
Search, filter, steer, explain and analyse indexes of saeindex. Each body takes the options of the Python
method of its name. Keys go into `Authorization: Bearer KEY`. An error is a problem (RFC 9457) that says what
was asked, what was found, and what to do.
"""
# Paths that need no key.
OPEN = ("/livez", "/readyz")
REFERENCE = "#/components/schemas/{model}"
ROUTERS = (server.router, operations.router, records.router, jobs.router, embeddings.router)


class Application(FastAPI):
    """The application, with its middleware outside of everything that FastAPI adds."""

    def openapi(self) -> dict[str, Any]:
        """Return its description."""
        if not self.openapi_schema:
            self.openapi_schema = described(self)
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application as the server calls it."""
        service: Service = self.state.service
        inner = super().build_middleware_stack()
        return Middleware(inner, service.settings, service.metrics, service.needs_keys)


def create_app(settings: ServerSettings, places: list[str], url: str | None = None) -> FastAPI:
    """Return the application that serves indexes: directories, or collections on the server at ``url``."""
    service = Service(settings, places, url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not service.is_ready:
            await to_thread.run_sync(service.start)
        try:
            yield
        finally:
            await to_thread.run_sync(service.stop)

    app = Application(
        title="saeindex", description=ABOUT.strip(), version=__version__, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", lifespan=lifespan,
    )  # fmt: skip
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    if find_spec("mcp"):
        from saeindex_server.routes.mcp import router as tools

        app.include_router(tools)
    add_handlers(app)
    if settings.workbench and find_spec("nicegui"):
        from saeindex_server.workbench.pages import add_pages

        add_pages(app, service)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.cors_origins), allow_methods=["*"],
            allow_headers=[
                "Authorization", "api-key", "x-api-key", "Content-Type", "X-Request-ID",
                "Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name",
            ],
        )  # fmt: skip
    return app


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description of an application."""
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes,
        openapi_version="3.1.0", separate_input_output_schemas=False,
    )  # fmt: skip
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    models = (Problem, CreateBody, EmbeddingsBody, RecordsBody, VectorStoreBody)
    added = {model.__name__: model.model_json_schema(ref_template=REFERENCE) for model in models}
    for kind in OPERATIONS.values():
        added[schema_name(kind)] = json_schema(kind, REFERENCE)
        added[schema_name(kind, "Result")] = json_schema(kind.returns(), REFERENCE)
    examples = EXAMPLES | {schema_name(kind): EXAMPLES.get(kind.name) for kind in OPERATIONS.values()}
    for name, own in added.items():
        schemas |= own.pop("$defs", {})
        schemas[name] = own
        if examples.get(name) is not None:
            own["examples"] = [examples[name]]
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in found["paths"].items():
        for method in methods.values():
            if path not in OPEN:
                method["security"] = [{"key": []}]
    components["schemas"] = dict(sorted(schemas.items()))
    return found

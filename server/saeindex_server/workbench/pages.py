"""The pages, at ``/ui``: each asks who looks, and reaches an index only through what that one may do.

A login turns a key into a cookie that ends, and each action asks for it again.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote
from uuid import uuid4

from engineio.payload import Payload
from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from nicegui import app as pages
from nicegui import core, ui

from saeindex.errors import SaeIndexError
from saeindex_server.access import Access, AuthorisedIndex
from saeindex_server.keys import LOCAL, Scope
from saeindex_server.logs import log_failure
from saeindex_server.problems import Refusal
from saeindex_server.workbench.analyses import ClusterPage, ComparePage, CorrelatePage, DriftPage
from saeindex_server.workbench.asked import Asked
from saeindex_server.workbench.concept_page import ConceptPage
from saeindex_server.workbench.search_page import SearchPage
from saeindex_server.workbench.upload_page import UploadPage

if TYPE_CHECKING:
    from saeindex_server.service import Service
    from saeindex_server.workbench.conditions import Opener


COOKIE, SECONDS, MOST = "saeindex-session", 12 * 3_600, 1_000


class Sessions:
    """The sessions of a service, in memory: a restart ends them all."""

    def __init__(self, service: Service) -> None:
        """Begin without any."""
        self.service = service
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def begin(self, key: str) -> str:
        """Return the token of a new session for a key; 401 if it is not valid."""
        if await self.service.verified(key) is None:
            do = "Check it, or ask who runs the server for another."
            raise Refusal(401, "log in", "the key is wrong, revoked or at its end", do)
        while len(self._known) >= MOST:
            self._known.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._known[token] = key, time.monotonic() + SECONDS
        return token

    def end(self, token: str) -> None:
        """End a session."""
        self._known.pop(token, None)

    async def access(self, token: str) -> Access:
        """Return what the holder of a token may do now; 401 without a session, where keys are needed."""
        identity = uuid4().hex[:16]
        if not await self.service.needs_keys():
            return Access(self.service, LOCAL, identity)
        text, end = self._known.get(token, ("", 0.0))
        key = await self.service.verified(text) if end > time.monotonic() else None
        if key is None:
            self.end(token)
            raise Refusal(401, "a page", "no session, or one that has ended", "Log in with a key.")
        return Access(self.service, key, identity)


def token_of(request: Request) -> str:
    """Return the token that a browser sent, "" for none."""
    return request.cookies.get(COOKIE, "")


PATH, PACKETS, FORM_BYTES = "/ui", 4_096, 4_096
STYLE, PRIMARY = Path(__file__).with_name("style.css"), "#24609a"
ANALYSES = {one.path: one for one in (ComparePage, DriftPage, CorrelatePage, ClusterPage)}
TABS = {"Search": "", "Compare": "compare", "Trends": "drift", "Pairs": "correlate", "Clusters": "clusters"}


def add_pages(app: FastAPI, service: Service) -> None:
    """Serve the pages beside the routes of an application."""
    sessions = Sessions(service)
    app.state.workbench = PATH
    pages.state.sessions = sessions
    # Each message is a request, checked as all are; who types fast has more in one than the 16 by default.
    pages.config.socket_io_js_transports = ["polling"]
    pages.on_page_exception(_show_failure)
    pages.on_exception(lambda error: log_failure("", error))
    Payload.max_decode_packets = PACKETS
    core.sio.eio.cors_allowed_origins = []  # pages of other origins read no answer
    ui.run_with(
        app, mount_path=PATH, title="saeindex", dark=None, tailwind=False, show_welcome_message=False,
        storage_secret=None, gzip_middleware_factory=None,
    )  # fmt: skip

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        form = b""
        async for part in request.stream():
            form = (form + part)[:FORM_BYTES]
        (key,) = parse_qs(form.decode("ascii", "replace")).get("key", [""])[:1]
        try:
            token = await sessions.begin(key.strip())
        except Refusal:
            return RedirectResponse(f"{PATH}/login?wrong=1", 303)
        answer = RedirectResponse(PATH + "/", 303)
        answer.set_cookie(
            COOKIE, token, max_age=SECONDS, path="/", httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    @app.post("/logout", include_in_schema=False)
    async def logout(request: Request) -> Response:
        sessions.end(token_of(request))
        answer = RedirectResponse(f"{PATH}/login", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer


def _show_failure(error: Exception) -> None:
    """Say that a page failed; what is wrong is in the log, and nobody else's to read."""
    log_failure("", error)
    _begin()
    with ui.column().classes("absolute-center items-center gap-2"):
        ui.label("Something went wrong on this page. The log of the server says what.")
        ui.link("All indexes", "/")


def _sessions() -> Sessions:
    found: Sessions = pages.state.sessions
    return found


async def _access(request: Request) -> Access | None:
    """Return what who looks may do, or lead to the login."""
    try:
        return await _sessions().access(token_of(request))
    except Refusal:
        ui.navigate.to("/login")
        return None


def _begin() -> None:
    """Give a page its language, its colours and its style."""
    ui.add_head_html("<script>document.documentElement.lang = 'en'</script>")
    ui.colors(primary=PRIMARY)
    ui.add_css(STYLE.read_text("utf-8"))


def _frame(names: list[str], name: str, with_logout: bool, can_write: bool = False) -> None:
    _begin()
    with ui.header().classes("items-center no-wrap q-py-xs"):
        with ui.element("h1").classes("brand"):
            ui.link("saeindex", "/").classes("brand")
        if name:
            chosen = ui.select(
                names, value=name, on_change=lambda one: ui.navigate.to(f"/{quote(one.value)}")
            )
            chosen.props('dense borderless dark options-dense aria-label="index"')
            with ui.row().classes("no-wrap tabs"):
                for said, path in {**TABS, **({"Add records": "add"} if can_write else {})}.items():
                    ui.link(said, f"/{quote(name)}/{path}".rstrip("/")).classes("tab")
        ui.space()
        dark = ui.dark_mode(None)
        toggle = ui.button(icon="contrast", on_click=dark.toggle)
        toggle.props('flat dense round color=white aria-label="light or dark"')
        if with_logout:
            form = '<form method="post" action="/logout"><button class="logout">Log out</button></form>'
            ui.html(form, sanitize=False)


@ui.page("/login")
def show_login(wrong: str = "") -> None:
    """Show the form that takes a key."""
    _begin()
    with ui.column().classes("absolute-center items-center gap-2"):
        with ui.element("h1").classes("text-h5"):
            ui.label("saeindex")
        if wrong:
            ui.label("This key is wrong, revoked or at its end.").classes("text-negative")
        ui.html(
            '<form method="post" action="/login" class="login"><label>Key '
            '<input type="password" name="key" autocomplete="current-password" required autofocus></label> '
            "<button>Log in</button></form>",
            sanitize=False,
        )


@ui.page("/")
async def show_indexes(request: Request) -> None:
    """Show the indexes that there are for who looks, or the one."""
    access = await _access(request)
    if access is None:
        return
    try:
        names = [one.name for one in access.indexes()]
    except Refusal as refusal:
        _frame([], "", True)
        _sorry(refusal)
        return
    if len(names) == 1:
        ui.navigate.to(f"/{quote(names[0])}")
        return
    _frame(names, "", await _sessions().service.needs_keys())
    with ui.column().classes("q-pa-md gap-2"):
        ui.label("Indexes" if names else "This key is for no index that is served here.").classes("text-h6")
        for name in names:
            ui.link(name, f"/{quote(name)}")


async def _frame_of(request: Request, name: str) -> AuthorisedIndex | None:
    """Show the frame of an index that who looks may see, and return it; else say why not."""
    access = await _access(request)
    if access is None:
        return None
    with_logout = await _sessions().service.needs_keys()
    try:
        index, names = access.index(name), [one.name for one in access.indexes()]
    except SaeIndexError as error:
        _frame([], "", with_logout)
        _sorry(error)
        return None
    _frame(names, name, with_logout, access.key.may("write"))
    return index


def _opener(request: Request, name: str, scope: Scope = "read") -> Opener:
    """Return what returns an index as who looks may use it at the moment."""
    token = token_of(request)

    async def opened() -> AuthorisedIndex:
        return (await _sessions().access(token)).index(name, scope)

    return opened


def _sorry(error: SaeIndexError) -> None:
    """Say what went wrong; what to do about a request is no help on a page."""
    with ui.column().classes("q-pa-md gap-2"):
        ui.label(f"{error.asked}: {error.found}.")
        ui.link("All indexes", "/")


@ui.page("/{name}")
async def show_search(request: Request, name: str) -> None:
    """Show the search of an index."""
    index = await _frame_of(request, name)
    if index is None:
        return
    try:
        asked = Asked.of(request.query_params)
    except SaeIndexError as error:
        _sorry(error)
        return
    server = str(request.base_url).removesuffix("/").removesuffix(PATH)
    SearchPage(_opener(request, name), name, asked, server, index.access.key.may("write")).build()


@ui.page("/{name}/add")
async def show_upload(request: Request, name: str) -> None:
    """Show how records are added to an index."""
    index = await _frame_of(request, name)
    if index is None:
        return
    try:
        index.access.need("write")
    except Refusal as refusal:
        _sorry(refusal)
    else:
        UploadPage(_opener(request, name, "write"), name).build()


@ui.page("/{name}/concept/{feature}")
async def show_card(request: Request, name: str, feature: str) -> None:
    """Show a concept of an index."""
    index = await _frame_of(request, name)
    if index is not None:
        ConceptPage(_opener(request, name), name, f"#{feature}", index.access.key.may("write")).build()


@ui.page("/{name}/{analysis}")
async def show_analysis(request: Request, name: str, analysis: str) -> None:
    """Show an analysis of an index."""
    if await _frame_of(request, name) is None:
        return
    page = ANALYSES.get(analysis)
    if page is None:
        _sorry(Refusal(404, f"the page {analysis!r:.80}", "there is none", "Choose another."))
        return
    page(_opener(request, name, "analyse"), name, request.query_params).build()

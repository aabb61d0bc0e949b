"""The pages, at ``/ui``: each asks who looks, and reaches an index only through what that one may do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from engineio.payload import Payload
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from nicegui import app as pages
from nicegui import ui

from saeindex.errors import SaeIndexError
from saeindex_server.problems import Refusal
from saeindex_server.workbench.asked import Asked
from saeindex_server.workbench.compare_page import MOST_CHARS, ComparePage, Groups
from saeindex_server.workbench.concept_page import look, show_concept
from saeindex_server.workbench.search_page import SearchPage
from saeindex_server.workbench.sessions import COOKIE, SECONDS, Sessions, token_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from saeindex_server.access import Access, AuthorisedIndex
    from saeindex_server.service import Service

PATH, PACKETS, FORM_BYTES = "/ui", 256, 4_096
STYLE = Path(__file__).with_name("style.css")


def add_pages(app: FastAPI, service: Service) -> None:
    """Serve the pages beside the routes of an application."""
    sessions = Sessions(service)
    app.state.workbench = PATH
    pages.state.sessions = sessions
    # Each message is a request, checked as all are; who types fast has more in one than the 16 by default.
    pages.config.socket_io_js_transports = ["polling"]
    Payload.max_decode_packets = PACKETS
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


def _frame(names: list[str], name: str, with_logout: bool) -> None:
    ui.add_css(STYLE.read_text("utf-8"))
    with ui.header().classes("items-center no-wrap q-py-xs"):
        ui.link("saeindex", "/").classes("brand")
        if name:
            ui.select(
                names, value=name, on_change=lambda event: ui.navigate.to(f"/{quote(event.value)}")
            ).props('dense borderless dark options-dense aria-label="index"')
            ui.link("Search", f"/{quote(name)}").classes("tab")
            ui.link("Compare", f"/{quote(name)}/compare").classes("tab")
        ui.space()
        dark = ui.dark_mode(None)
        ui.button(icon="contrast", on_click=dark.toggle).props(
            'flat dense round color=white aria-label="light or dark"'
        )
        if with_logout:
            ui.html(
                '<form method="post" action="/logout"><button class="logout">Log out</button></form>',
                sanitize=False,
            )


@ui.page("/login")
def show_login(wrong: str = "") -> None:
    """Show the form that takes a key."""
    ui.add_css(STYLE.read_text("utf-8"))
    with ui.column().classes("absolute-center items-center gap-2"):
        ui.label("saeindex").classes("text-h5")
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
    except (Refusal, SaeIndexError) as error:
        _frame([], "", with_logout)
        _sorry(error)
        return None
    _frame(names, name, with_logout)
    return index


def _sorry(error: Refusal | SaeIndexError) -> None:
    """Say what went wrong; what to do about a request is no help on a page."""
    with ui.column().classes("q-pa-md gap-2"):
        ui.label(f"{error.asked}: {error.found}.")
        ui.link("All indexes", "/")


@ui.page("/{name}")
async def show_search(request: Request, name: str) -> None:
    """Show the search of an index."""
    if await _frame_of(request, name) is None:
        return
    token = token_of(request)

    async def opened() -> AuthorisedIndex:
        return (await _sessions().access(token)).index(name)

    try:
        asked = Asked.of(request.query_params)
    except SaeIndexError as error:
        _sorry(error)
        return
    SearchPage(opened, name, asked).build()


@ui.page("/{name}/compare")
async def show_comparison(request: Request, name: str, a: str = "", b: str = "") -> None:
    """Show the comparison of two groups of records of an index."""
    if await _frame_of(request, name) is None:
        return
    token = token_of(request)

    async def opened() -> AuthorisedIndex:
        return (await _sessions().access(token)).index(name, "analyse")

    ComparePage(opened, name, Groups(a[:MOST_CHARS], b[:MOST_CHARS])).build()


@ui.page("/{name}/concept/{feature}")
async def show_card(request: Request, name: str, feature: str) -> None:
    """Show a concept of an index, once the page is there: to look at it may take seconds."""
    index = await _frame_of(request, name)
    if index is None:
        return
    place = ui.column().classes("w-full")

    async def show() -> None:
        try:
            seen = await index.run(lambda opened: look(opened, f"#{feature}"))
        except (Refusal, SaeIndexError) as error:
            place.clear()
            with place:
                _sorry(error)
            return
        place.clear()
        with place:
            show_concept(name, seen)

    with place:
        ui.spinner(size="2rem").classes("q-ma-lg")
    ui.timer(0, show, once=True)

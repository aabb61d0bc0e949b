"""The workbench in Chromium, served as a person serves it. Without a browser its tests are skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from saeindex import FeatureIndex, Record
from tests.samples import sample_records

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver")
HOSTILE = "<img src=x onerror='window.broken=1'> <script>window.broken=1</script> **A thunderstorm** [x](javascript:1)"  # noqa: E501
# Seconds until a page must show something, and the key of a keyboard, as drivers write it.
SECONDS, ENTER = 20, "\ue007"
MUSIC = 'metadata.topic = "music"'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("workbench")
    with FeatureIndex.create(made / "papers.idx") as index:
        index.upsert([*sample_records(120), Record("hostile", HOSTILE, {"topic": "<b>weather</b>"})])
    return made


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    profile = tmp_path_factory.mktemp("browser")
    window = "window-size=1440,1000"
    for one in ("headless=new", "no-sandbox", "disable-gpu", window, f"user-data-dir={profile}"):
        options.add_argument(f"--{one}")
    browser = Chrome(options=options, service=Service(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def saeindex(folder: Path, *arguments: str) -> list[str]:
    program = "from saeindex.cli import main; main()"
    return [sys.executable, "-c", program, *arguments, "--state", str(folder / "state")]


def serve(folder: Path) -> Iterator[str]:
    command = [*saeindex(folder, "serve", str(folder / "papers.idx")), "--port", "0"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        url = next(json.loads(line)["url"] for line in process.stderr if "Listening on " in line)
        yield url
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    yield from serve(folder)


def find(driver: WebDriver, css: str, text: str = "") -> Any:
    """Return the first element that a person sees of this selector and text, as soon as there is one."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    def seen(browser: WebDriver) -> Any:
        every = browser.find_elements("css selector", css)
        return next((one for one in every if text in one.text and one.is_displayed()), None)

    waiting = WebDriverWait(driver, SECONDS, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(seen, f"{css} {text!r}")


def write(driver: WebDriver, css: str, text: str) -> None:
    find(driver, css).send_keys(text, ENTER)


def ranked(driver: WebDriver) -> list[str]:
    return [one.text for one in driver.find_elements("css selector", ".hit")]


SEARCH, WHERE = "input[aria-label='Search']", "input[aria-label='Only records where']"
ADD = "input[placeholder^='a concept']"


def test_a_search_is_steered_and_its_link_is_the_same_search(driver: WebDriver, url: str) -> None:
    driver.get(url)
    write(driver, SEARCH, "a broken thing")
    find(driver, ".hit")
    write(driver, ADD, "music")
    find(driver, ".heading", "Steered +music:1")
    assert find(driver, ".was", "was ")
    link, before = driver.current_url, ranked(driver)
    assert "steer=" in link and link.startswith(f"{url}/ui/papers?q=")
    driver.get("about:blank")
    driver.get(link)
    find(driver, ".heading", "Steered +music:1")
    assert ranked(driver) == before


def test_a_hit_shows_its_text_and_parts_that_add_up(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=a+violin+concerto")
    find(driver, ".hit .q-expansion-item .q-item").click()
    find(driver, ".bars tr:last-child .name", "the score")
    table = find(driver, ".bars")
    *parts, total = [float(one.split()[-1]) for one in table.text.splitlines() if one.split()[-1][0] in "+-"]
    assert len(parts) > 3
    assert sum(parts) == pytest.approx(total, abs=0.0005 * (len(parts) + 1))


def test_a_condition_is_applied_and_a_wrong_one_is_explained(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=a+broken+thing")
    write(driver, WHERE, MUSIC)
    find(driver, ".understood", "records match")
    assert all("music" in one for one in ranked(driver))
    write(driver, WHERE, " AND (")
    assert "expected" in find(driver, ".empty").text
    assert "Traceback" not in driver.page_source


def test_a_hostile_text_is_shown_and_does_nothing(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=thunderstorm+img+script")
    find(driver, ".hit", "onerror")
    assert find(driver, ".fields", "<b>weather</b>")
    assert driver.execute_script("return window.broken === undefined")
    assert not driver.find_elements("css selector", ".hit img, .hit script, .hit strong, .hit a")


def test_a_concept_has_a_page(driver: WebDriver, url: str, folder: Path) -> None:
    driver.get(f"{url}/ui/papers?q=jazz+improvisation&where=%22music%22")
    find(driver, ".hit .concept").click()
    find(driver, ".q-menu .q-item", "About it").click()
    find(driver, ".heading", "Sentences that speak of it")
    assert "/concept/" in driver.current_url
    driver.get(f"{url}/ui/papers/concept/99999999")
    assert find(driver, ".q-pa-md", "99999999")


def test_two_groups_are_compared_and_a_link_is_the_comparison(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers/compare")
    write(driver, "input[aria-label='Records where']", MUSIC)
    find(driver, ".text", "findings between")
    assert find(driver, ".heading", f"More in: {MUSIC}")
    assert driver.current_url.startswith(f"{url}/ui/papers/compare?a=")
    driver.get(driver.current_url)
    assert find(driver, ".hit a.rank", "musical instrument")
    write(driver, "input[aria-label='Records where']", " AND (")
    assert find(driver, ".empty", "expected")


def test_keys_are_asked_for_and_a_filter_is_all_that_there_is(
    driver: WebDriver, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "papers.idx", tmp_path / "papers.idx")
    keys = [
        subprocess.run(
            saeindex(tmp_path, "keys", "create", "one", *options), check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        for options in (["--where", MUSIC], ["--scope", "write"])
    ]
    for url in serve(tmp_path):
        driver.get(f"{url}/ui/papers?q=a+broken+thing")
        find(driver, "input[name=key]").send_keys("wrong")
        find(driver, "form button").click()
        assert find(driver, ".text-negative", "wrong")
        for key, shown in ((keys[1], "scope 'read'"), (keys[0], "Search")):
            driver.delete_all_cookies()
            driver.get(f"{url}/ui/login")
            find(driver, "input[name=key]").send_keys(key)
            find(driver, "form button").click()
            find(driver, "body", shown)
        (cookie,) = (one for one in driver.get_cookies() if one["name"] == "saeindex-session")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and keys[0] not in cookie["value"]
        driver.get(f"{url}/ui/papers?q=a+thunderstorm")
        find(driver, ".hit")
        assert all("music" in one for one in ranked(driver))
        revoked = saeindex(tmp_path, "keys", "revoke", keys[0].split("_")[1])
        subprocess.run(revoked, check=True, capture_output=True)
        write(driver, SEARCH, " and rain")
        assert find(driver, ".empty", "Log in with a key")

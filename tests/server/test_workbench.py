"""The workbench in Chromium, served as a person serves it. Without a browser its tests are skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
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
SECONDS, ENTER = 60, "\ue007"
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
    environment, log = os.environ | {"HF_HUB_OFFLINE": "1"}, folder / "server.log"
    with log.open("wb") as file:  # a pipe that nobody reads would stop the server when it is full
        process = subprocess.Popen(command, stderr=file, env=environment)
    try:
        yield started(log)
    finally:
        process.kill()
        process.wait()


def started(log: Path) -> str:
    for _ in range(600):
        lines = [line for line in log.read_text().splitlines() if "Listening on " in line]
        if lines:
            return str(json.loads(lines[0])["url"])
        time.sleep(0.1)
    raise TimeoutError(log.read_text())


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


def wait_for_value(driver: WebDriver, css: str, value: str) -> None:
    """Wait until a blank holds exactly this: what a click writes comes from the server."""
    from selenium.webdriver.support.ui import WebDriverWait

    def holds(browser: WebDriver) -> bool:
        return bool(find(browser, css).get_attribute("value") == value)

    WebDriverWait(driver, SECONDS).until(holds, f"{css} = {value!r}")


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


def test_the_words_of_a_query_are_marked_and_a_misspelt_one_is_mended(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=violn+concerto")
    find(driver, ".understood", "In no text: 'violn'; 'violin' is in")
    find(driver, "button", "Search for violin").click()
    assert find(driver, ".hit .word", "violin")
    wait_for_value(driver, SEARCH, "violin concerto")
    driver.get(f"{url}/ui/papers?q=where+are+the+moons+of+Jupiter")
    assert {one.text for one in find(driver, ".hit").find_elements("css selector", ".word")} >= {
        "moons",
        "Jupiter",
    }


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
    find(driver, ".hit", "A thunderstorm")
    assert find(driver, ".fields", "<b>weather</b>")
    assert driver.execute_script("return window.broken === undefined")
    assert not driver.find_elements("css selector", ".hit img, .hit script, .hit strong, .hit a")


def test_a_concept_has_a_page(driver: WebDriver, url: str, folder: Path) -> None:
    driver.get(f"{url}/ui/papers?q=jazz+improvisation&where=%22music%22")
    find(driver, ".hit .concept").click()
    find(driver, ".q-menu .q-item", "About it").click()
    find(driver, ".heading", "Sentences that speak of it")
    assert "/concept/" in driver.current_url
    write(driver, "input[placeholder='another name']", "tunes")
    assert find(driver, ".text-h5", "tunes")
    write(driver, "input[placeholder='another name']", ENTER)
    assert find(driver, ".text-h5", "music")
    driver.get(f"{url}/ui/papers/concept/99999999")
    assert find(driver, ".q-pa-md", "99999999")


def test_a_sentence_that_is_judged_is_an_example(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=thunderstorms&where=%22weather%22")
    find(driver, ".hit .concept", "weather").click()
    find(driver, ".q-menu .q-item", "About it").click()
    for _ in range(2):  # of a concept of the space, then of the one that this makes
        find(driver, ".heading", "as likely as not")
        find(driver, "button", "It does not").click()
        assert find(driver, ".text-h5", "weather here")
        find(driver, ".understood", "becomes an example of it")


def test_hits_are_liked_and_kept_as_a_profile(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=a+broken+thing")
    find(driver, "button[aria-label='more like this']").click()
    find(driver, ".heading", "Steered towards what was liked")
    assert "like=doc-" in driver.current_url
    driver.get(driver.current_url)
    find(driver, ".heading", "Steered towards what was liked")
    write(driver, "input[placeholder='a name for it']", "mine")
    find(driver, ".heading", "Steered +profile:mine:1")
    assert "like=" not in driver.current_url


def test_a_condition_is_completed_as_it_is_written(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers?q=a+broken+thing")
    find(driver, WHERE).send_keys('NOT "instr')
    find(driver, ".q-chip", "musical instrument").click()
    wait_for_value(driver, WHERE, 'NOT "musical instrument" ')
    find(driver, WHERE).send_keys("AND yea")
    find(driver, ".q-chip", "metadata.year").click()
    wait_for_value(driver, WHERE, 'NOT "musical instrument" AND metadata.year ')
    write(driver, WHERE, " > 2000")
    assert find(driver, ".understood", "records match")


def test_two_groups_are_compared(driver: WebDriver, url: str) -> None:
    driver.get(f"{url}/ui/papers/compare")
    write(driver, "input[aria-label='Records where']", MUSIC)
    assert find(driver, ".heading", f"More in: {MUSIC}")
    assert driver.current_url.startswith(f"{url}/ui/papers/compare?a=")
    driver.get(driver.current_url)
    assert find(driver, "button.finding", "musical instrument")


@pytest.mark.parametrize(
    ("page", "blank", "asked"),
    [
        ("compare", "Records where", MUSIC),
        ("drift", "Of records where (all)", "metadata.year > 1000"),
        ("correlate", "Of records where (all)", "metadata.year > 1000"),
        ("clusters", "Along an axis", "topic: music, cooking, health"),
    ],
)
def test_an_analysis_is_a_link_and_its_findings_show_their_records(
    driver: WebDriver, url: str, page: str, blank: str, asked: str
) -> None:
    over = "?over=metadata.score" if page == "drift" else ""
    driver.get(f"{url}/ui/papers/{page}{over}")
    write(driver, f"input[aria-label='{blank}']", asked)
    find(driver, ".text", "records")
    link = driver.current_url
    driver.get("about:blank")
    driver.get(link)
    find(driver, "button.finding, .text")
    for finding in driver.find_elements("css selector", "button.finding")[:1]:
        finding.click()
        assert find(driver, ".beside .hit")
    assert page == "drift" or driver.find_elements("css selector", "button.finding")
    write(driver, "input[aria-label*='ecords where']", " AND (")
    assert find(driver, ".empty", "expected")


def test_a_file_is_added_by_its_columns(driver: WebDriver, url: str, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    rows = [
        "note,stars,what was said",
        "1,5,A lighthouse keeper sings",
        '2,1,"<script>window.broken=1</script> A ship sails <img src=x onerror=window.broken=1>"',
        "3,2,",
    ]
    table.write_text("\n".join(rows))
    driver.get(f"{url}/ui/papers/add")
    find(driver, "body", "Choose a file")
    driver.find_element("css selector", "input[type=file]").send_keys(str(table))
    find(driver, ".q-table", "A lighthouse keeper")
    find(driver, "label.q-select", "The texts are in").click()
    find(driver, ".q-menu .q-item", "what was said").click()
    find(driver, "button", "Index it").click()
    find(driver, ".text", "2 indexed")
    assert find(driver, ".understood", "line 4: the text is empty")
    table.write_bytes(b"\xfftext\nAnother lighthouse")
    driver.find_element("css selector", "input[type=file]").send_keys(str(table))
    find(driver, ".empty", "UTF-8")
    table.write_bytes(b"text\n\xff lighthouse")
    driver.find_element("css selector", "input[type=file]").send_keys(str(table))
    find(driver, ".q-table", "lighthouse")
    table.write_text("text\nAnother lighthouse")
    driver.find_element("css selector", "input[type=file]").send_keys(str(table))
    find(driver, ".q-table", "Another lighthouse")
    driver.get(f"{url}/ui/papers?q=lighthouse&where=metadata.stars+%3D+5")
    assert find(driver, ".hit", "A lighthouse keeper")
    assert driver.execute_script("return window.broken === undefined")


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
        assert not driver.find_elements("css selector", "a[href$='/add']")
        driver.get(f"{url}/ui/papers/add")
        assert find(driver, "body", "scope 'write'")
        driver.get(f"{url}/ui/papers?q=a+thunderstorm")
        find(driver, ".hit")
        revoked = saeindex(tmp_path, "keys", "revoke", keys[0].split("_")[1])
        subprocess.run(revoked, check=True, capture_output=True)
        write(driver, SEARCH, " and rain")
        assert find(driver, ".empty", "Log in with a key")

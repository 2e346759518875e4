"""Chromium without a screen, for tests of pages.

Tests that need it are skipped where it is not installed (Debian: chromium and chromium-driver), and
checks by axe where axe-core is not: AVVP_AXE names its axe.min.js, or node_modules has it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable

import pytest

from tests.programs import free_port

ROOT = pathlib.Path(__file__).parent.parent
AXE = pathlib.Path(os.environ.get("AVVP_AXE") or ROOT / "node_modules/axe-core/axe.min.js")
WIDTHS = (360, 800, 1400)  # a telephone, half a screen, a screen
PATIENCE = 300.0  # seconds, after which a page will never do what it was asked for


def start_chromium(downloads: pathlib.Path):
    """The driver of a browser that writes downloads to a folder.

    Raises:
      FileNotFoundError: Chromium or its driver is not installed.
      ImportError: selenium is not.
    """
    from selenium import webdriver  # here, because a few tests run without it

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        raise FileNotFoundError("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{argument}")
    options.add_argument("--autoplay-policy=no-user-gesture-required")
    options.add_argument("--hide-scrollbars")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    wishes = {"download.default_directory": str(downloads), "download.prompt_for_download": False}
    options.add_experimental_option("prefs", wishes)
    started = webdriver.Chrome(options, webdriver.ChromeService(driver, port=free_port()))
    started.set_script_timeout(PATIENCE)
    return started


class Browser:
    """A browser, and what tests ask of the page in it."""

    def __init__(self, driver, downloads: pathlib.Path):
        self.driver, self.downloads = driver, downloads

    def open(self, path: str | os.PathLike, width: int = 1100, theme: str = "light") -> None:
        """Opens a file, forgetting what was logged before: of the page before nothing comes now."""
        self.driver.get("about:blank")
        self.resize(width)
        self.prefer(theme)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(pathlib.Path(path).resolve().as_uri())

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, theme: str, media: str = "screen") -> None:
        """What the system of the user prefers: "light" or "dark"; media may be "print"."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )

    def run(self, script: str, *arguments: object) -> object:
        """What a script of the page's world returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str):
        """The first element that a selector of CSS finds."""
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def frames(self) -> None:
        """Waits until events of the mouse have come, and what is to be drawn is drawn."""
        self.driver.execute_async_script(
            "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        )

    def wait(self, condition: Callable[[], object], what: str) -> object:
        """Waits until a condition holds, and returns its value."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(Exception):
                if found := condition():
                    return found
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {PATIENCE} s; the console: {self.console()}")

    def console(self) -> list[str]:
        """Errors and warnings of the page so far."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that the page asked for, but for those of its own content."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return [url for url in found if not url.startswith(("data:", "blob:"))]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        root = "document.documentElement"
        return self.run(f"return {root}.scrollWidth - {root}.clientWidth")

    def violations(self) -> list[str]:
        """What axe-core finds on the page as it stands, in words.

        Skips the test where axe-core is not installed.
        """
        if not AXE.exists():
            pytest.skip(f"{AXE}: no axe-core; npm install --no-save axe-core, or set AVVP_AXE")
        self.run(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run().then((found) => done(found.violations), (error) => done(String(error)));"
        )
        assert isinstance(found, list), found
        return [f"{x['id']}: {x['help']}: {x['nodes'][0]['html'][:200]}" for x in found]

    def downloaded(self, name: str) -> str:
        """The text of a file that the page gave to the user."""
        path = self.downloads / name
        unfinished = lambda: [*self.downloads.glob("*.crdownload")]  # noqa: E731
        whole = lambda: path.exists() and path.stat().st_size and not unfinished()  # noqa: E731
        self.wait(whole, f"the download of {name}")
        text = path.read_bytes().decode("utf-8")
        path.unlink()
        return text


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One Chromium for all tests of a worker."""
    downloads = tmp_path_factory.mktemp("downloads")
    try:
        driver = start_chromium(downloads)
    except (FileNotFoundError, ImportError) as problem:
        pytest.skip(str(problem))
    yield Browser(driver, downloads)
    driver.quit()

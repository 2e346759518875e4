"""Makes the README's pictures of pages: python docs/make_pictures.py [--work DIR].

It trains on made-up data in DIR (ten minutes on two cores; what is there already is kept), parses
a made-up video, and takes pictures of the pages in Chromium (Debian: chromium, chromium-driver;
and pip install -r requirements-test.txt).
"""

import argparse
import io
import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import Browser, start_chromium  # noqa: E402

SEEDS = "--config.num_seeds=3"
WIDTH, HEIGHT = 1200, 900
# Shows paths as seen from the folder of runs: where a picture was made is nobody's concern.
ELSEWHERE = """const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode;
      text.data = text.data.replaceAll(arguments[0], "runs/");
    }"""
COLOURS = 128  # of a picture: text and areas, in a quarter of the bytes


def make_pages(work: pathlib.Path) -> dict[str, pathlib.Path]:
    """Trains, parses and compares; returns the pages by the names of their pictures."""
    data, new = f"--config.data.data_dir={work}/data", work / "new.mp4"

    def launch(name: str, *arguments: str, made: str = "report.html") -> pathlib.Path:
        page = work / name / made
        if not page.exists():
            command = [sys.executable, "launch.py", f"--workdir={work}/{name}", *arguments]
            subprocess.run(command, cwd=ROOT, check=True)
        return page

    launch("videos", "--config=configs/jomold.py:synthetic_videos", data)
    if not new.exists():
        clip = ["-m", "tfds_llp.synthetic_videos", "--clip", str(new), "--seconds", "35"]
        subprocess.run([sys.executable, *clip], cwd=ROOT, check=True)
    parses = launch(
        "videos", "--mode=parse", "--config.parse.hop=1", str(new), made="parses/report.html"
    )
    jomold = launch("jomold", "--config=configs/jomold.py:synthetic", SEEDS, data)
    launch("han", "--config=configs/han.py:synthetic", SEEDS, data)
    compared = work / "compared.html"
    command = ["launch.py", "--mode=compare", f"{work}/jomold", f"{work}/han"]
    subprocess.run([sys.executable, *command, f"--config.report={compared}"], cwd=ROOT, check=True)
    return {"parse_page": parses, "run_page": jomold, "compare_page": compared}


def take_pictures(pages: dict[str, pathlib.Path], folder: pathlib.Path, work: pathlib.Path) -> None:
    """Writes the top of each page to FOLDER/NAME.png."""
    with tempfile.TemporaryDirectory() as downloads:
        browser = Browser(start_chromium(pathlib.Path(downloads)), pathlib.Path(downloads))
        for name, page in pages.items():
            browser.open(page, WIDTH)
            browser.resize(WIDTH, HEIGHT)
            browser.wait(lambda: browser.find_all("main svg, main canvas"), "the page's drawing")
            if browser.find_all("video"):
                ready = "return document.querySelector('video').readyState > 2"
                browser.run("document.querySelector('video').currentTime = 13.2")
                browser.wait(lambda ready=ready: browser.run(ready), "the video")
            browser.run(ELSEWHERE, f"{work}/")
            picture = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
            few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(folder / f"{name}.png", optimize=True)
        browser.driver.quit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "runs/pictures")
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    take_pictures(make_pages(work), ROOT / "docs", work)

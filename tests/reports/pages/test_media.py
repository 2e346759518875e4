"""Where a page finds its videos."""

import pytest

from avvp_jax.reports.pages import media
from avvp_jax.reports.parses import write_parse
from tests.reports.pages.parsed import a_parse, write


def test_addresses_of_videos_are_relative_where_they_can_be(tmp_path):
    folder = tmp_path / "W" / "parses"
    folder.mkdir(parents=True)
    odd = tmp_path / "v" / "a#b %41?'\" \u00fc\udcff:.mp4"
    relative, absolute = media.sources(str(odd), folder)
    assert relative == "../../v/a%23b%20%2541%3F%27%22%20%C3%BC%FF%3A.mp4"
    assert absolute.startswith("file:///") and absolute.endswith(relative[5:])
    assert media.sources("/nowhere/x:y.mp4", folder) == ["file:///nowhere/x%3Ay.mp4"]
    assert media.sources(str(odd), "gs://bucket/W") == [absolute]
    (folder / "x:y.mp4").write_bytes(b"x")
    assert media.sources(str(folder / "x:y.mp4"), folder)[0] == "x%3Ay.mp4"


@pytest.mark.parametrize("content", [b"-----BEGIN KEY-----", b"", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_a_file_that_is_no_media_is_not_put_into_a_page(tmp_path, content):
    """Who made NAME.json chose its path, and the page may be sent to them."""
    (tmp_path / "secret.mp4").write_bytes(content)
    write_parse(str(tmp_path), a_parse("stored", facts={"path": str(tmp_path / "secret.mp4")}))
    text = write(tmp_path, a_parse("own"), embed=True).read_text()
    assert "media-0" not in text and "</bdi> (no media, or damaged)" in text

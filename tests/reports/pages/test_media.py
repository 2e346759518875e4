"""Where a page finds its videos."""

from avvp_jax.reports.pages import media


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

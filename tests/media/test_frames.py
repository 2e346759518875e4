"""Frames, JPEG files, and what networks see of them, against the published programs."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from avvp_jax.media import frames
from avvp_jax.media.choice import Choice, Nearest, published
from avvp_jax.media.colour import Rgb
from avvp_jax.media.decoding import Picture, pictures, rate_of
from avvp_jax.media.jpeg import Jpegs
from avvp_jax.media.opening import opened
from avvp_jax.media.views import VIEWS, blended, indices, middles
from avvp_jax.task import LLP
from tests.media.clips import (
    crcs,
    elsewhere,
    golden,
    having,
    make,
    number_of,
    numbered,
    path_of,
    plain,
)

CLIPS = having("source_index")
ODD = "odd_size"  # the blocks at its edges are encoded otherwise


def jpegs_of(path: str) -> tuple[Jpegs, list[int], int]:
    """The JPEG files, which decoded frame each shows, and how many frames there are."""
    numbers, chosen = {}, []
    with opened(path) as file:
        jpegs = Jpegs(file.picture.sample_aspect_ratio)

        def counted():
            for picture in pictures(file):
                numbers[picture.time] = len(numbers)
                yield picture

        for picture in published(counted(), rate_of(file.picture)):
            chosen.append(numbers[picture.time])
            jpegs.append(picture)
    return jpegs, chosen, len(numbers)


@pytest.mark.golden
@pytest.mark.parametrize("clip", CLIPS)
def test_frames_and_jpeg_files_are_those_of_ffmpeg(clip):
    numbers = golden()[clip]
    jpegs, chosen, count = jpegs_of(path_of(clip))
    assert len(jpegs) == numbers["frame_count"]
    assert count == numbers["source_count"]
    np.testing.assert_array_equal(chosen, numbers["source_index"])
    decoded = [jpegs.rgb(index) for index in range(len(jpegs))]
    assert decoded[0].shape[:2] == tuple(numbers["frame_size_hw"])
    means = [picture.mean((0, 1)) for picture in decoded]
    if clip == ODD:
        np.testing.assert_allclose(means, numbers["frame_mean_rgb"], atol=0.05)
        return
    np.testing.assert_allclose(means, numbers["frame_mean_rgb"], atol=1e-9)
    assert crcs(decoded) == list(numbers["frame_crc"])
    sizes = [len(jpegs.content(index)) for index in range(len(jpegs))]
    assert sizes == list(numbers["jpeg_bytes"])


@pytest.mark.golden
@pytest.mark.parametrize("clip", CLIPS)
def test_networks_see_what_published_programs_show_them(clip):
    numbers = golden()[clip]
    with opened(path_of(clip)) as file:
        seen = frames.whole(file, LLP, ["resnet", "r2plus1d", "clip"])
    for wanted in (80, 10):
        chosen = indices(int(numbers["frame_count"]), wanted)
        np.testing.assert_array_equal(chosen, numbers[f"index{wanted}"])
    assert crcs(seen["resnet"]) == list(numbers["resnet_crop_crc"])
    if clip != ODD:
        assert crcs(seen["r2plus1d"]) == list(numbers["r2plus1d_resize_crc"])
    resnet = (seen["resnet"] / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(probed(resnet), numbers["resnet_probe"], atol=1e-6)
    shown = normalised(seen["clip"])
    assert seen["clip"].dtype == np.float32 and shown.shape == (10, 224, 224, 3)
    off = (1e-4, 0.2) if clip == ODD else (2e-7, 2e-6)
    np.testing.assert_allclose(shown.mean((1, 2, 3)), numbers["clip_mean"], atol=off[0])
    np.testing.assert_allclose(shown.std((1, 2, 3)), numbers["clip_std"], atol=off[0])
    np.testing.assert_allclose(probed(shown), numbers["clip_probe"], atol=off[1])


def normalised(pictures: np.ndarray) -> np.ndarray:
    """As CLIP takes them."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return (pictures - mean) / std


def probed(pictures: np.ndarray) -> np.ndarray:
    """Some numbers of each picture."""
    probes = [(0, 0, 0), (1, 50, 60), (2, 111, 112), (0, 200, 30), (1, 223, 223), (2, 17, 190)]
    return np.stack([pictures[:, row, column, channel] for channel, row, column in probes], 1)


@pytest.mark.golden
def test_the_pixels_of_a_crop_and_a_resize():
    numbers = golden()["ntsc_stereo441"]
    with opened(path_of("ntsc_stereo441")) as file:
        seen = frames.whole(file, LLP, ["resnet", "r2plus1d", "clip"])
    np.testing.assert_array_equal(seen["resnet"][40], numbers["resnet_crop40"])
    np.testing.assert_array_equal(seen["r2plus1d"][40], numbers["r2plus1d_resize40"])
    some = normalised(seen["clip"])[5, ::4, ::4].transpose(2, 0, 1)
    np.testing.assert_allclose(some, numbers["clip_frame5"], atol=2e-6)


@pytest.mark.golden
def test_a_real_video_gives_the_frames_that_its_data_set_came_with():
    folder = elsewhere() / "llp"
    jpegs, _, _ = jpegs_of(str(folder / "BjCEufrlXm4.mp4"))
    assert len(jpegs) == 82
    for index in range(82):
        with Image.open(folder / f"frames/{index + 1:06d}.jpg") as theirs:
            np.testing.assert_array_equal(jpegs.rgb(index), np.asarray(theirs.convert("RGB")))


@pytest.mark.parametrize("lasts", [1, 2, 3])
def test_a_frame_that_lasts_long_is_written_often(lasts):
    choice = Choice(Fraction(8, lasts))
    shown = [p.frame for at in range(4) for p in choice.shown(Picture(at, Fraction(at * lasts, 8)))]
    assert len(shown) == 4 * lasts and set(shown) == {0, 1, 2, 3}


def test_frames_whose_time_runs_backwards_are_left_out():
    choice = Choice(Fraction(8))
    times = [0, 1, 2, 3, 0, 1, 4, 5]
    shown = [
        p.frame for at, t in enumerate(times) for p in choice.shown(Picture(at, Fraction(t, 8)))
    ]
    assert shown == [0, 1, 2, 3, 6, 7]


def test_nearest_frames_are_those_shown_in_the_middle_of_each_step():
    nearest = Nearest(Fraction(0), 8)
    given = [Picture(at, Fraction(at, 32)) for at in range(40)]
    shown = [p for picture in given for p in nearest.shown(picture)]
    # The middle of the first eighth is 1/16 s, which frame 2 shows.
    assert [p.frame for p in shown] == [2, 6, 10, 14, 18, 22, 26, 30]
    assert not list(nearest.rest())


def test_direct_frames_are_at_their_times(tmp_path):
    path = make(tmp_path / "x.mkv", numbered(75), codec="ffv1")
    with opened(path) as file:
        (seen,) = frames.windows(file, [Fraction(0)], LLP, ["resnet", "clip"], frames.DIRECT)
    shown = [number_of(picture) for picture in seen["resnet"]]
    times = (np.arange(24) + 0.5) / 8
    assert np.all(np.abs(np.array(shown[:24]) / 25 - times) <= 0.5 / 25 + 1e-9)
    assert set(shown[24:]) == {74}  # the last one stands for what is missing
    middle = [number_of_square(picture) for picture in seen["clip"]]
    np.testing.assert_allclose(np.array(middle[:3]) / 25, [0.56, 1.56, 2.56], atol=0.03)


def number_of_square(picture: np.ndarray) -> int:
    """Which of `numbered` a whole picture from 0 to 1 shows."""
    places = [round((30 + 28 * bit) / 256 * len(picture)) for bit in range(8)]
    return sum(int(picture[len(picture) // 2, at, 1] > 0.5) << bit for bit, at in enumerate(places))


@pytest.mark.parametrize("matrix,range_", [(1, 1), (5, 1), (1, 2), (5, 2)])
def test_direct_colours_are_right_for_matrix_and_range(tmp_path, matrix, range_):
    colour = (matrix, range_)
    path = make(tmp_path / "x.mkv", [plain()] * 3, codec="ffv1", colour=colour)
    with opened(path) as file:
        picture = next(pictures(file))
        assert (picture.frame.colorspace, picture.frame.color_range) == colour
        pixel = Rgb().of(picture.frame)[20, 20]
    np.testing.assert_allclose(pixel.astype(int), (200, 30, 90), atol=4)


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p16le", "gray", "bgr0", "yuva420p", "nv12"]
)
def test_other_formats_come_out_in_nearly_the_same_colours(tmp_path, pix_fmt):
    colour = (120, 120, 120) if pix_fmt == "gray" else (200, 30, 90)
    codec = "rawvideo" if pix_fmt == "nv12" else "ffv1"
    path = make(tmp_path / "x.mkv", [plain(colour)] * 3, codec=codec, pix_fmt=pix_fmt)
    for fidelity in (frames.PUBLISHED, frames.DIRECT):
        with opened(path) as file:
            (seen,) = frames.windows(file, [Fraction(0)], LLP, ["resnet"], fidelity)
        np.testing.assert_allclose(seen["resnet"][0, 9, 9].astype(int), colour, atol=5)


def test_rotated_video_stands_upright_whatever_the_fidelity():
    first = []
    for fidelity in (frames.PUBLISHED, frames.DIRECT):
        with opened(path_of("rotated")) as file:
            assert (file.picture.width, file.picture.height) == (240, 320)
            (seen,) = frames.windows(file, [Fraction(0)], LLP, ["clip", "resnet"], fidelity)
        assert seen["clip"].shape == (10, 224, 224, 3)
        first.append(seen["resnet"][0].astype(int))
    # ffmpeg's tests hold the published one; the plain one is the same way up.
    right, upside_down = (np.abs(first[0] - each).mean() for each in (first[1], first[1][::-1]))
    assert right < 12 < upside_down


def test_views_of_all_sizes(tmp_path):
    for height, width in ((1, 1), (256, 341), (300, 256), (224, 224), (720, 1280), (40, 1000)):
        picture = plain(size=(height, width))
        for view in VIEWS.values():
            seen = view.of(picture)
            assert seen.shape == (*view.dark, 3) and seen.dtype == view.dtype
            most = 255 if view.dtype == np.uint8 else 1
            np.testing.assert_allclose(
                seen / most, np.broadcast_to(picture[0, 0] / 255, seen.shape)
            )
    assert list(middles(80, 10)) == list(range(4, 80, 8))


@pytest.mark.parametrize("size", [224, 336])
@pytest.mark.parametrize("given", [(240, 320), (720, 1280), (100, 90), (1, 50), (241, 321)])
def test_clip_sees_what_pytorch_resizes_without_antialiasing(given, size):
    torch = pytest.importorskip("torch")
    picture = np.random.default_rng(0).integers(0, 256, (*given, 3), np.uint8)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    how = {"size": (size, size), "mode": "bilinear", "align_corners": False}
    theirs, smooth = (
        torch.nn.functional.interpolate(tensor, **how, antialias=each)[0].permute(1, 2, 0).numpy()
        for each in (False, True)
    )
    np.testing.assert_allclose(blended(picture, size), theirs, atol=3e-5)
    if min(given) > size:  # and where it would matter, not the smooth one
        assert np.abs(blended(picture, size) - smooth).mean() > 0.02


def test_both_sizes_for_clip_show_the_same_frames(tmp_path):
    path = make(tmp_path / "x.mkv", numbered(75), codec="ffv1")
    for fidelity in (frames.PUBLISHED, frames.DIRECT):
        with opened(path) as file:
            (seen,) = frames.windows(file, [Fraction(0)], LLP, ["clip", "clip336"], fidelity)
        assert seen["clip336"].shape == (10, 336, 336, 3)
        small, large = ([number_of_square(p) for p in seen[v]] for v in ("clip", "clip336"))
        assert small == large and len(set(small)) > 3

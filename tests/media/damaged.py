"""Damaged and odd media files: how each is made, and what becomes of it."""

import os
import random
from collections.abc import Collection

import pytest

from avvp_jax.media import workers
from avvp_jax.media.workers import Limits
from tests.media.clips import CLIPS, make, plain, tone
from tests.media.hostile import (
    FTYP,
    LONG,
    M3U8,
    MPD,
    READ,
    SDP,
    SMALL,
    UNREADABLE,
    Case,
    beside,
    bound,
    bytes_of,
    flipped,
    headers,
    joined,
    nested,
    patched,
    reference,
    sparse,
    u32,
    whole,
)
from tests.programs import PATIENCE

# By their timestamps these last for hours; a reader gives them up.
ENDLESS = {"timestamps: no ticks", "timestamps: four billion ticks"}


def allow_time(patch: pytest.MonkeyPatch, endless: Collection[str]) -> None:
    """While `patch` holds, decoders have little time for some files, and enough for all others."""
    read = workers._Hand._read

    def read_within(hand: workers._Hand, job: workers._Job) -> None:
        seconds, total = (20, 3) if job.path in endless else (PATIENCE, PATIENCE)
        hand._limits = Limits(seconds, 1000, total)
        read(hand, job)

    patch.setattr(workers._Hand, "_read", read_within)


def cut(part: float, clip: str) -> Case:
    says = READ if clip == LONG and part >= 0.4 else "no index of its frames"
    content = whole(clip)
    what = f"{clip} after {part:.0%}"
    return Case("truncated", what, says, "x.mp4", bytes_of(content[: int(part * len(content))]))


def other(mechanism: str, what: str, says: str | None, content: bytes, name="x.mp4") -> Case:
    return Case(mechanism, what, says, name, bytes_of(content))


def box(mechanism: str, what: str, says: str | None, *change, **more) -> Case:
    return other(mechanism, what, says, patched(*change, **more))


def made(mechanism: str, what: str, says: str | None, name: str, *given, **more) -> Case:
    return Case(mechanism, what, says, name, lambda path: make(path, *given, **more))


NOT_KNOWN = "is not a video of a known format"
TRUNCATED = [
    *(cut(part, LONG) for part in (0.02, 0.4, 0.7, 0.99)),
    *(cut(part, SMALL) for part in (0.1, 0.5, 0.95)),
    other("truncated", "a byte", NOT_KNOWN, whole()[:1]),
    other("truncated", "eight bytes", "no index", whole()[:8]),
    other("truncated", "in the middle of a Matroska file", None, b"\x1a\x45\xdf\xa3\x01\0"),
]
NO_INDEX = [
    Case("no index", "never finished", "no index of its frames", "x.mp4",
         lambda path: path.write_bytes((CLIPS / "truncated_no_index.mp4").read_bytes())),
    box("no index", "moov renamed", "no index of its frames", b"moov", -4, b"zzzz"),
    box("no index", "no table of samples", None, b"stbl", -4, b"free"),
    box("no index", "no table of sizes", None, b"stsz", -4, b"free"),
]  # fmt: skip
CLAIMS = [
    box("claims", "16384 x 16384 in the track", None, b"avc1", 24, u32(0x40004000), which=1),
    box("claims", "65535 x 1 in the track", None, b"avc1", 24, u32(0xFFFF0001), which=1),
    box("claims", "four billion samples", None, b"stsz", 4, u32(0, 0xFFFFFFFF)),
    box("claims", "four billion samples of one size", None, b"stsz", 4, u32(9, 0xFFFFFFFF)),
    box("claims", "samples of 2 GB", None, b"stsz", 12, u32(0x7FFFFFFF) * 5),
    box("claims", "four billion chunks", None, b"stco", 4, u32(0xFFFFFFFF)),
    box("claims", "chunks past the end", None, b"stco", 8, u32(0xFFFFFF00) * 3),
    box("claims", "a box of 2^63 bytes", None, b"moov", -8, u32(1) + b"moov" + u32(1 << 31, 0)),
    box("claims", "a box of no size", None, b"trak", -8, u32(0)),
    other("claims", "a thousand boxes in one another", "no index", FTYP + nested(b"moov", 1000)),
    other("claims", "endless boxes", None, FTYP + (u32(8) + b"free") * 20_000 + whole()),
    Case("claims", "terabytes of nothing", "no index", "x.mp4", lambda path: sparse(path)),
]
TIMES = [
    box("timestamps", "all the same", None, b"stts", 8, u32(30, 0)),
    box("timestamps", "steps that are negative", None, b"stts", 8, u32(30, 0xFFFFF000)),
    box("timestamps", "decades apart", None, b"stts", 8, u32(30, 0x7FFFFFFF)),
    box("timestamps", "a second apart", READ, b"stts", 8, u32(30, 10_240)),
    box("timestamps", "slow ticks", None, b"mdhd", 12, u32(1024)),
    box("timestamps", "no ticks", None, b"mdhd", 12, u32(0)),
    box("timestamps", "four billion ticks", None, b"mdhd", 12, u32(0xFFFFFFFF)),
    box("timestamps", "a negative duration", READ, b"mdhd", 16, u32(0xFFFFFFFE)),
    box("timestamps", "an endless duration", READ, b"mdhd", 16, u32(0xFFFFFFFF)),
    box("timestamps", "an edit before the beginning", None, b"elst", 12, u32(0x80000000)),
    box("timestamps", "an edit after the end", None, b"elst", 12, u32(0x7FFFFFFF)),
    box("timestamps", "an endless edit", None, b"elst", 8, u32(0xFFFFFFFF)),
    made("timestamps", "missing", READ, "x.avi", [plain()] * 50, sound=tone(2), sound_codec="mp2"),
    made("timestamps", "a week late", "limit", "x.mkv",
         [(0, plain()), (25 * 86400 * 7, plain())], codec="ffv1", sound=tone(1),
         sound_codec="pcm_s16le"),
    made("timestamps", "the first ten seconds late", None, "x.mkv",
         [(250 + at, plain()) for at in range(5)], codec="ffv1", sound=tone(1),
         sound_codec="pcm_s16le"),
    Case("timestamps", "that start again", None, "x.ts", lambda path: joined(path, 2)),
    made("rates", "a million frames a second", READ, "x.mkv", [plain()] * 30, 1_000_000,
         codec="ffv1", sound=tone(1), sound_codec="pcm_s16le"),
    made("rates", "a frame in twenty seconds", READ, "x.mkv",
         [(0, plain()), (500, plain())], codec="ffv1", sound=tone(1), sound_codec="pcm_s16le"),
    made("rates", "one frame", READ, "x.mp4", [plain()], sound=tone(1)),
    box("rates", "sound at 0 Hz", None, b"mp4a", 24, u32(0)),
    box("rates", "sound at 65 kHz in the header", None, b"mp4a", 24, u32(0xFFFF0000)),
    box("rates", "sound of 65535 channels", None, b"mp4a", 16, b"\xff\xff"),
]  # fmt: skip
STREAMS = [
    Case("sound only", "MP4", "has no picture and only sound", "x.mp4",
         lambda path: path.write_bytes(whole("audio_only"))),
    made("sound only", "WAV", "has no picture and only sound", "x.wav", [], sound=tone(1),
         sound_codec="pcm_s16le"),
    made("sound only", "FLAC", "has no picture and only sound", "x.flac", [], sound=tone(1),
         sound_codec="flac"),
    Case("picture only", "MP4", "has no sound", "x.mp4",
         lambda path: path.write_bytes(whole("no_audio"))),
    made("picture only", "AVI", "has no sound", "x.avi", [plain()] * 5),
    Case("zero frames", "Matroska with headers alone", None, "x.mkv", lambda path: headers(path)),
    box("zero frames", "an MP4 without samples", None, b"stsz", 8, u32(0)),
    box("unknown codec", "of the picture", "codec", b"avc1", -4, b"zzzz", which=1),
    box("unknown codec", "of the default sound", None, b"mp4a", -4, b"zzzz"),
    box("unknown codec", "a picture that is no H.264", None, b"avcC", 0, b"\xff" * 20),
    box("unknown codec", "neither picture nor sound", None, b"hdlr", 8, b"zzzz"),
    made("odd sizes", "1 x 1", READ, "x.mkv", [plain(size=(1, 1))] * 50, codec="ffv1",
         sound=tone(2), sound_codec="pcm_s16le"),
    made("odd sizes", "3 x 5", READ, "x.mkv", [plain(size=(3, 5))] * 50, codec="ffv1",
         sound=tone(2), sound_codec="pcm_s16le"),
    made("odd sizes", "2000 x 2", "too narrow", "x.mkv", [plain(size=(2, 2000))] * 5,
         codec="ffv1", sound=tone(1), sound_codec="pcm_s16le"),
    made("odd sizes", "6000 x 6000", "too large", "x.mkv", [plain(size=(6000, 6000))],
         codec="mjpeg", pix_fmt="yuvj420p", sound=tone(1), sound_codec="pcm_s16le"),
    Case("odd sizes", "that change", READ, "x.ts", lambda path: joined(path, 1)),
    box("rotation", "a matrix of nothing", READ, b"tkhd", 40, bytes(36)),
    box("rotation", "a matrix of large numbers", READ, b"tkhd", 40, b"\x7f\xff\xff\xff" * 9),
    box("rotation", "by 45 degrees", READ, b"tkhd", 40, u32(46341, 46341, 0, 0xFFFF4AFB, 46341)),
]  # fmt: skip
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>" + b" " * 3000
CONTENT = [
    other("not media", "empty", "is empty", b""),
    other("not media", "text", NOT_KNOWN, b"a text\nof lines\n" * 100),
    other("not media", "a web page", "web page", HTML),
    other("not media", "a server's message", "message", b'{"error": "not found"}'),
    other("not media", "a pointer", "Git LFS",
          b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"),
    other("not media", "a zip archive", None, b"PK\3\4" + bytes(3000)),
    other("not media", "zeros", NOT_KNOWN, bytes(100_000)),
    other("not media", "noise", NOT_KNOWN, random.Random(1).randbytes(100_000)),
    other("not media", "a picture", "picture", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    other("not media", "a program", NOT_KNOWN, b"\x7fELF\2\1\1" + bytes(3000)),
    other("extension", "an MP4 named .txt", READ, whole(), "x.txt"),
    other("extension", "an MP4 named .m3u8", READ, whole(), "x.m3u8"),
    other("extension", "an MP4 named .avi", READ, whole(), "x.avi"),
    other("extension", "none", READ, whole(), "x"),
    *(other("flipped bits", f"of the index, {seed}", None, flipped(seed, "index"))
      for seed in range(12)),
    *(other("flipped bits", f"of the frames, {seed}", None, flipped(seed, "frames"))
      for seed in range(6)),
    other("overwritten", "zeros in the middle", None,
          whole()[:9000] + bytes(20_000) + whole()[29_000:]),
    other("overwritten", "noise in the middle", None,
          whole()[:9000] + random.Random(2).randbytes(20_000) + whole()[29_000:]),
    other("overwritten", "all but the index", None,
          whole()[:60] + bytes(whole().index(b"moov") - 60) + whole()[whole().index(b"moov"):]),
    other("too long", "something behind", READ, whole() + b"something" * 1000),
    other("too long", "twice", READ, whole() * 2),
]  # fmt: skip


def listing(what: str, text: str, name: str) -> Case:
    """A file that names another video, which is there."""
    return Case(
        "names another file", what, "", name,
        lambda path: path.write_text(text.format(beside(path))),
    )._replace(says="x.")  # fmt: skip


LISTS = [
    listing("m3u8", M3U8, "x.m3u8"),
    listing("m3u8 named .mp4", M3U8, "x.mp4"),
    listing("a list for concat", "ffconcat version 1.0\nfile '{}'\n", "x.ffconcat"),
    listing("sdp", SDP, "x.sdp"),
    listing("DASH", MPD, "x.mpd"),
    listing("pls", "[playlist]\nFile1={}\nNumberOfEntries=1\n", "x.pls"),
    listing("asx", "<asx version='3.0'><entry><ref href='{}'/></entry></asx>", "x.asx"),
    listing("a picture list", "{}\n", "x.txt"),
    Case("names another file", "an MP4 with references", None, "x.mp4", reference),
]
PLACES = [
    Case("no file", "missing", "No such file", "x.mp4", lambda path: None),
    Case("no file", "a folder", "is a folder", "x.mp4", lambda path: path.mkdir()),
    Case("no file", "a pipe", "is not a file", "x.mp4", lambda path: os.mkfifo(path)),
    Case("no file", "a device", "is not a file", "x.mp4",
         lambda path: path.symlink_to("/dev/zero")),
    Case("no file", "a socket", "cannot be read", "x.mp4", lambda path: bound(path)),
    Case("no file", "a dead link", "which is not there", "x.mp4",
         lambda path: path.symlink_to("gone.mp4")),
    Case("no file", "a link to itself", "symbolic links", "x.mp4",
         lambda path: path.symlink_to(path)),
    Case(UNREADABLE, "nobody may read it", "Permission denied", "x.mp4",
         lambda path: (path.write_bytes(whole()), path.chmod(0))),
    other("names", "a line break", READ, whole(), "two\nlines.mp4"),
    other("names", "a terminal's commands", READ, whole(), "\x1b[31mred.mp4"),
    other("names", "bytes that are no text", READ, whole(), os.fsdecode(b"\xff\xfe.mp4")),
    other("names", "like a protocol", READ, whole(), "concat:x|y.mp4"),
    other("names", "like a list of numbers", READ, whole(), "%03d.mp4"),
    other("names", "like a flag", READ, whole(), "-i.mp4"),
    Case("names", "too long", "too long", "x" * 300 + ".mp4", lambda path: None),
    Case("names", "a NUL", "null", "x\0.mp4", lambda path: None),
]  # fmt: skip


CASES = [*TRUNCATED, *NO_INDEX, *CLAIMS, *TIMES, *STREAMS, *CONTENT, *LISTS, *PLACES]

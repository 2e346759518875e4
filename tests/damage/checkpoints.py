"""Somebody's weights: published .pt files that config.init_from names."""

import os
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import torch

from tests.damage.case import Case, Damage, put
from tests.damage.hostile import (
    TERABYTES,
    UNREADABLE,
    Trap,
    claiming,
    flipped,
    loop,
    nothing,
    rezipped,
    trap,
    unreadable,
)
from tests.damage.place import Place
from tests.damage.shared import tensors

SURFACE = "checkpoints"
LARGE = ["--config.model.width=512", "--config.model.feed_forward=512"]  # as published
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n"
Change = Callable[[bytes], bytes]


def published(mechanism: str, what: str, says: str, damage: Damage, mode="eval", **more) -> Case:
    """A damaged .pt, which config.init_from names."""

    def make(place: Place) -> list[str]:
        put(place.root / "x.pt", damage)
        exported = [f"--config.export_to={place.root}/out.pt", *LARGE] if mode == "export" else []
        return place.launch(mode, f"--config.init_from={place.root}/x.pt", *exported)

    return Case(SURFACE, mechanism, f".pt: {what}", ("x.pt: ", says), make, **more)


def content(mechanism: str, what: str, says: str, change: Callable[[dict, Place], object]) -> Case:
    """Something else than the state_dict of han.pt, saved by PyTorch."""

    def make(place: Place) -> list[str]:
        torch.save(change(tensors(place), place), place.root / "x.pt")
        return place.weights(place.root / "x.pt")

    return Case(SURFACE, mechanism, f".pt: {what}", ("x.pt: ", says), make)


def tensor(mechanism: str, what: str, says: str, value: torch.Tensor) -> Case:
    """Another tensor in fc_a.bias, which has 16 numbers."""
    return content(mechanism, what, says, lambda state, place: state | {"fc_a.bias": value})


def member(
    mechanism: str,
    what: str,
    says: str,
    ending: str,
    change: Change,
    compression=zipfile.ZIP_STORED,
    **more,
) -> Case:
    """Another member of the zip file that han.pt is."""

    def make(place: Place) -> list[str]:
        edit = lambda name, old: change(old) if name.endswith(ending) else old  # noqa: E731
        put(place.root / "x.pt", rezipped(place.shared / "han.pt", edit, compression))
        return place.weights(place.root / "x.pt")

    return Case(SURFACE, mechanism, f".pt: {what}", ("x.pt: ", says), make, **more)


def whole(mechanism: str, what: str, says: str, change: Change, **more) -> Case:
    """The bytes of han.pt, changed."""

    def make(place: Place) -> list[str]:
        put(place.root / "x.pt", change((place.shared / "han.pt").read_bytes()))
        return place.weights(place.root / "x.pt")

    return Case(SURFACE, mechanism, f".pt: {what}", ("x.pt: ", says), make, **more)


def legacy_trap(path: pathlib.Path) -> None:
    torch.save({"x": Trap(path)}, path, _use_new_zipfile_serialization=False)


def with_attribute() -> torch.Tensor:
    value = torch.zeros(16)
    value.detach = 5
    return value


def address(given: str) -> Case:
    """Weights on a storage that is not read."""
    return Case(
        SURFACE,
        "unknown name",
        f"storage: {given}",
        (given, "gs://BUCKET"),
        lambda place: place.weights(given),
    )


CASES = [
    address("s3://bucket/x.pt"),
    address("foo://bucket"),
    published("missing", "the file", "no such checkpoint", nothing),
    published(UNREADABLE, "the file", "Permission denied", unreadable),
    published("empty", "the file", "is empty", b""),
    published("other format", "text", "not a readable file", b"hello"),
    published(
        "other format", ".npz", "not a readable file", lambda p: np.savez(p.open("wb"), a=np.eye(2))
    ),
    published("folder for a file", "a folder", "not a work directory", os.mkdir),
    published("pipe or device", "a pipe", "is not a file", os.mkfifo),
    published("pipe or device", "/dev/zero", "is not a file", lambda p: p.symlink_to("/dev/zero")),
    published("symlink loop", "the file", "symbolic links", loop),
    published("code in a pickle", "a plain one", "not a readable file", trap),
    published(
        "code in a pickle",
        "in a zip",
        "which could run code",
        lambda p: torch.save(Trap(p), p),
        launched=True,
    ),
    published(
        "code in a pickle",
        "before training",
        "which could run code",
        lambda p: torch.save(Trap(p), p),
        mode="train",
    ),
    published(
        "code in a pickle",
        "before an export",
        "which could run code",
        lambda p: torch.save(Trap(p), p),
        mode="export",
    ),
    published(
        "other format",
        "a page",
        "is a web page (Log in)",
        b"<html><title>Log in</title>",
        mode="train",
    ),
    published("other format", "a pointer to a large file", "git lfs pull", POINTER, mode="export"),
    published(
        "dead link",
        "the file",
        "is a link to HAN.pt, which is not there",
        lambda p: p.symlink_to("HAN.pt"),
        launched=True,
    ),
    published("truncated", "before an export", "not a readable file", b"PK\3\4", mode="export"),
    published("code in a pickle", "in the older format", "which could run code", legacy_trap),
    whole("truncated", "the end", "not a readable file", lambda b: b[:-3000]),
    whole("truncated", "most", "not a readable file", lambda b: b[:3000]),
    whole("bit flip", "a number", "checksum of", lambda b: flipped(b, len(b) // 2)),
    whole(
        "claims terabytes",
        "a member's size",
        "not a readable file",
        lambda b: claiming(b, b"PK\1\2", 24, 2**32 - 2),
    ),
    member(
        "bomb",
        "a tensor",
        "is compressed",
        "data/0",
        lambda old: bytes(3 * 10**7),
        zipfile.ZIP_DEFLATED,
        launched=True,
    ),
    member("mismatch", "a storage too short", "record size", "data/0", lambda old: old[:-4]),
    member("wrong byte order", "unknown", "endianness", "byteorder", lambda old: b"middle"),
    member("wrong byte order", "exchanged", "NaN or infinity", "byteorder", lambda old: b"big"),
    member(
        "claims terabytes",
        "a text",
        "not a readable file",
        "data.pkl",
        lambda old: b"\x80\2X\xff\xff\xff\x7fx.",
    ),
    member(
        "claims terabytes",
        "a memo",
        "holds no state_dict",
        "data.pkl",
        lambda old: b"\x80\2]r\xff\xff\xff\x7f.",
    ),
    member(
        "nested too deep",
        "tuples",
        "holds no state_dict",
        "data.pkl",
        lambda old: b"\x80\2)" + b"\x85" * 10**5 + b".",
    ),
    content(
        "code in a pickle",
        "in a state_dict",
        "could run code",
        lambda s, place: s | {"x": Trap(place.root / "x")},
    ),
    content(
        "code in a pickle",
        "in an array of objects",
        "x.pt",
        lambda s, place: {"model": s, "numpy_rng": np.array([Trap(place.root / "x")], object)},
    ),
    content(
        "code in a pickle", "a module", "names torch.nn", lambda s, place: torch.nn.Linear(2, 2)
    ),
    content("wrong type", "a list", "holds no state_dict", lambda s, place: [1, 2]),
    content(
        "wrong type",
        "numbers for names",
        "holds no state_dict",
        lambda s, place: {1: torch.zeros(2)},
    ),
    content(
        "wrong type",
        "float64",
        "not dense float32",
        lambda s, place: {k: v.double() for k, v in s.items()},
    ),
    content(
        "missing",
        "a tensor",
        "lacks fc_a.bias",
        lambda s, place: {k: s[k] for k in s if k != "fc_a.bias"},
    ),
    content(
        "unknown key", "a tensor", "has unknown ../x", lambda s, place: s | {"../x": torch.zeros(2)}
    ),
    tensor("wrong type", "a sparse tensor", "not dense", torch.zeros(16).to_sparse()),
    tensor(
        "wrong type",
        "numbers to be negated",
        "not dense",
        torch.randn(16, dtype=torch.complex64).conj().imag,
    ),
    tensor(
        "wrong type", "a nested tensor", "not dense", torch.nested.nested_tensor([torch.zeros(16)])
    ),
    tensor("wrong type", "a tensor with a method of its own", "not dense", with_attribute()),
    tensor("wrong shape", "a tensor", "fc_a.bias is (17,)", torch.zeros(17)),
    tensor("claims terabytes", "a view", "not dense", torch.zeros(1).expand(10**6, 10**6)),
    tensor(
        "claims terabytes", "without content", "not dense", torch.zeros(TERABYTES, device="meta")
    ),
    tensor(
        "NaN or infinity", "a tensor", "NaN or infinity in fc_a.bias", torch.full((16,), torch.nan)
    ),
    Case(
        SURFACE,
        "mismatch",
        ".pt: another method's",
        ("han.pt: not a checkpoint of jomold",),
        lambda place: place.weights(place.shared / "han.pt", method="jomold"),
    ),
    Case(
        SURFACE,
        "missing",
        ".pt: of a pair",
        ("han_audio.pt: no such checkpoint",),
        lambda place: place.weights(place.shared / "han.pt", method="dhhn"),
    ),
]

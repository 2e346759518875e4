"""Writes one self-contained HTML page, which opens from disk without network or server.

A page is a template of Jinja2, with its style and scripts inlined, and data as JSON. Names of
videos, classes and files are the users': Jinja2 escapes them, JSON keeps them in strings, and
scripts only set text. Should one slip through, the page's content security policy lets nothing run
but its own scripts, and nothing be fetched but media from disk.
"""

import base64
import functools
import gzip
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

import jinja2
from markupsafe import Markup

from avvp_jax.storage.writing import write_whole

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# The signs that could end a script element, or a line of JavaScript.
_IN_SCRIPTS = {sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def write_page(
    path: str,
    template: str,
    title: str,
    facts: Mapping[str, object],
    data: Mapping[str, object],
    blocks: Mapping[str, str] | None = None,
    scripts: Sequence[str] = (),
) -> None:
    """Writes a page atomically.

    Args:
      template: name of a template, without ending, which extends page.html. A style NAME.css and
        a script NAME.js of its name are inlined after those that all pages have.
      title: of the page.
      facts: what the template shows without a script.
      data: what scripts read, JSON; a number that is not finite becomes null.
      blocks: further data by id, as `packed` or `encoded` make them; scripts open them.
      scripts: names of scripts to inline before the template's own, without ending.
    """
    styles = "\n".join(_source(f"{name}.css") for name in ("page", template))
    names = ("page", *scripts, template)
    script = "\n".join(_source(f"{name}.js") for name in names)
    text = (
        _environment()
        .get_template(f"{template}.html")
        .render(
            **facts,
            title=title,
            page=template,
            style=Markup(styles),
            script=Markup(script),
            data=Markup(json_text(data)),
            blocks={name: Markup(block) for name, block in (blocks or {}).items()},
            policy=_policy(styles, script),
        )
    )
    # A file's name that is no UTF-8 has lone surrogates, which could not be written.
    write_whole(path, text.encode("utf-8", "replace"))


def begins_as(content: bytes, template: str) -> bool:
    """Whether a file's first bytes are those of a page that was made from a template."""
    text = f'<!doctype html>\n<html lang="en" data-page="{template}">'
    return content.startswith(text.encode())


def packed(content: bytes) -> str:
    """Bytes as text, compressed; the page's `unpack` gives them back."""
    return encoded(gzip.compress(content, mtime=0))


def encoded(content: bytes) -> str:
    """Bytes as text, as they are; the page's `bytesOf` gives them back."""
    return base64.b64encode(content).decode()


def json_text(data: object) -> str:
    """JSON that may stand in a script element; numbers that are not finite are null."""
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate, as in a file's name that is no UTF-8, could not be written.
    text = text.encode("utf-8", "replace").decode()
    return "".join(_IN_SCRIPTS.get(sign, sign) for sign in text)


def _finite(data: object) -> object:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def _source(name: str) -> str:
    path = _TEMPLATES / name
    return path.read_text("utf-8") if path.exists() else ""


def _policy(style: str, script: str) -> str:
    """The content security policy: what a page may run and fetch."""
    of_style, of_script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{of_style}'; script-src 'sha256-{of_script}'; "
        "img-src data: blob:; media-src 'self' file: data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

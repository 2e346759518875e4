"""A cloud storage in memory that speaks as much of Google's JSON API as a run needs.

`python tests/cloud.py` serves one until it is stopped, and prints what points a run to it.
"""

import http.server
import itertools
import json
import re
import threading
import urllib.parse

BUCKET = "bucket"
_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
_REWRITE = re.compile(_OBJECT.pattern + r"/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
_MOVE = re.compile(_OBJECT.pattern + r"/moveTo/o/([^/]+)")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o/?")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
PAGE = 50  # names in an answer; few, so that clients must ask for more


class Refused(Exception):
    """An HTTP status other than success."""


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Says nothing of clients that leave."""


class Cloud:
    """The objects of one bucket, each a pair of its generation and its bytes."""

    def __init__(self):
        self.objects: dict[str, tuple[int, bytes]] = {}
        self._generations, self._uploads = itertools.count(1), {}
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells gcsfs, Google's library and TensorStore to come here, without credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
            "GOOGLE_CLOUD_PROJECT": "nothing",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks another server, over gRPC
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, headers, body: bytes) -> tuple[int, dict, bytes]:
        """Status, headers and body of the answer to a request."""
        path, _, query = target.partition("?")
        path = path.removeprefix("/download")
        options = dict(urllib.parse.parse_qsl(query))
        try:
            with self._lock:
                return self._answer(method, path, options, headers, body)
        except Refused as refused:
            code = refused.args[0]
            content = {"error": {"code": code, "message": f"{method} {path}: {code}"}}
            return code, {}, json.dumps(content).encode()

    def _answer(self, method: str, path: str, options: dict, headers, body: bytes):
        if path == "/batch/storage/v1":
            return self._batch(headers, body)
        for pattern in (_UPLOAD, _REWRITE, _MOVE, _OBJECT, _LIST, _BUCKET):
            if found := pattern.fullmatch(path):
                names = [urllib.parse.unquote(name) for name in found.groups()]
                break
        else:
            raise Refused(501)
        if names[0] != BUCKET:
            raise Refused(404)
        if pattern is _BUCKET:
            return _json({"kind": "storage#bucket", "name": BUCKET, "location": "HERE"})
        if pattern is _LIST:
            return _json(self._list(**{k: v for k, v in options.items() if k in _LISTING}))
        if pattern is _UPLOAD:
            return self._upload(options, headers, body)
        if pattern is _REWRITE:
            self._check(names[3], options)
            return _json({"done": True, "resource": self.write(names[3], self._read(names[1])[1])})
        if pattern is _MOVE:
            content = self._read(names[1])[1]
            del self.objects[names[1]]
            return _json(self.write(names[2], content))
        if method == "DELETE":
            self._read(names[1])
            self._check(names[1], options)
            del self.objects[names[1]]
            return 204, {}, b""
        if options.get("alt") != "media":
            self._read(names[1])
            return _json(self._facts(names[1]))
        return self._download(names[1], options, headers)

    def _read(self, name: str) -> tuple[int, bytes]:
        if name not in self.objects:
            raise Refused(404)
        return self.objects[name]

    def _check(self, name: str, options: dict) -> None:
        """Refuses what was asked for on the condition of another generation."""
        generation = self.objects.get(name, (0, b""))[0]
        if int(options.get("ifGenerationMatch", generation)) != generation:
            raise Refused(412)

    def write(self, name: str, content: bytes) -> dict:
        """Makes an object, or a new generation of it; returns what is told of it."""
        self.objects[name] = next(self._generations), content
        return self._facts(name)

    def _facts(self, name: str) -> dict:
        generation, content = self.objects[name]
        return {
            "kind": "storage#object",
            "bucket": BUCKET,
            "name": name,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "timeCreated": "2020-01-01T00:00:00.000Z",
            "updated": "2020-01-01T00:00:00.000Z",
        }

    def _list(
        self, prefix="", delimiter="", pageToken="", maxResults=PAGE, startOffset="", endOffset=""
    ):
        found = {}  # what is listed -> whether it is a folder
        for name in sorted(self.objects):
            if (
                not name.startswith(prefix)
                or name < startOffset
                or (endOffset and name >= endOffset)
            ):
                continue
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            found[prefix + head + cut if cut else name] = bool(cut)
        names = [name for name in sorted(found) if name > pageToken]
        shown, rest = names[: min(int(maxResults), PAGE)], names[min(int(maxResults), PAGE) :]
        return {
            "kind": "storage#objects",
            "items": [self._facts(name) for name in shown if not found[name]],
            "prefixes": [name for name in shown if found[name]],
        } | ({"nextPageToken": shown[-1]} if rest else {})

    def _download(self, name: str, options: dict, headers):
        generation, content = self._read(name)
        if options.get("ifGenerationNotMatch") == str(generation):
            raise Refused(304)
        self._check(name, options)
        told = {"x-goog-generation": str(generation), "Content-Type": "application/octet-stream"}
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", "")):
            first, size = int(span[1]), len(content)
            if first >= size:
                raise Refused(416)
            content = content[first : int(span[2]) + 1 if span[2] else size]
            told["Content-Range"] = f"bytes {first}-{first + len(content) - 1}/{size}"
            return 206, told, content
        return 200, told, content

    def _upload(self, options: dict, headers, body: bytes):
        if "upload_id" in options:
            return self._go_on(options["upload_id"], headers, body)
        kind, name = options["uploadType"], options.get("name")
        if kind == "multipart":
            about, body = _parts(headers, body)
            name = name or json.loads(about)["name"]
        elif kind == "resumable":
            name = name or json.loads(body)["name"]
            upload = str(len(self._uploads))
            self._uploads[upload] = name, options, b""
            place = f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable"
            return 200, {"Location": f"{place}&upload_id={upload}"}, b"{}"
        self._check(name, options)
        return _json(self.write(name, body))

    def _go_on(self, upload: str, headers, body: bytes):
        """The next part of a resumable upload."""
        name, options, before = self._uploads[upload]
        self._uploads[upload] = name, options, before + body
        if headers.get("Content-Range", "").endswith("/*"):
            return 308, {"Range": f"bytes=0-{len(before + body) - 1}"}, b""
        self._check(name, options)
        return _json(self.write(name, before + body))

    def _batch(self, headers, body: bytes):
        """Several requests in one, as parts of a MIME message."""
        answers = []
        for part in _parts(headers, body):
            request, _, rest = part.strip().partition(b"\r\n")
            method, target, *_ = request.decode().split()
            path, _, query = urllib.parse.urlsplit(target)[2:5]
            options = dict(urllib.parse.parse_qsl(query))
            try:
                code = self._answer(method, path, options, {}, rest)[0]
            except Refused as refused:
                code = refused.args[0]
            answers.append(
                f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {code} -\r\n\r\n\r\n"
            )
        content = "".join([*answers, "--b--"]).encode()
        return 200, {"Content-Type": "multipart/mixed; boundary=b"}, content


_LISTING = ("prefix", "delimiter", "pageToken", "maxResults", "startOffset", "endOffset")


def _json(content: dict) -> tuple[int, dict, bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def _parts(headers, body: bytes) -> list[bytes]:
    """The contents of a MIME message's parts, which may be any bytes."""
    boundary = re.search(r"boundary=[\"']?([^\"';]+)", headers["Content-Type"])[1].encode()
    parts = body.split(b"--" + boundary)[1:-1]
    contents = [re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts]
    return [re.sub(rb"\r?\n\Z", b"", content) for content in contents]


def _handler(cloud: Cloud) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, headers, content = cloud.answer(self.command, self.path, self.headers, body)
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

        def log_message(self, *_):
            pass

    return Handler


if __name__ == "__main__":
    with Cloud() as served:
        print(*(f"export {name}={value}" for name, value in served.environment.items()), sep="\n")
        threading.Event().wait()

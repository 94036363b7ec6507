"""Sets of intents, downloaded once, checked and kept: from a server here, in the real formats."""

import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pgkd.datasets import fetch_intents, intents
from pgkd.datasets.remote import RemoteFile
from pgkd.exceptions import DatasetNotFoundError, InvalidInputError

TRAIN = [(f"{word} {i}, please", f"get_{word}") for word in ("card", "pin", "loan") for i in "abcd"]
TEST = [('a "card"\nof two lines', "get_card"), ("pin für £1", "get_pin")]


def write_csv(rows):
    lines = ['"{}",{}'.format(text.replace('"', '""'), label) for text, label in rows]
    return "\n".join(["text,category", *lines, ""]).encode()


def write_archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def write_massive():
    sides = [("train", TRAIN), ("dev", [("left out", "get_pin")]), ("test", TEST)]
    rows = [
        {"id": "1", "locale": "en-US", "partition": side, "intent": label, "utt": text}
        for side, pairs in sides
        for text, label in pairs
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    others = {"1.0/LICENSE": b"CC BY", "1.0/data/de-DE.jsonl": b'{"partition": "train"}'}
    return write_archive({**others, "1.0/data/en-US.jsonl": lines})


CLINC = {"train": TRAIN, "val": [("left out", "get_pin")], "test": TEST, "oos_test": [("?", "oos")]}
CONTENTS = {
    "banking77": [write_csv(TRAIN), write_csv(TEST)],
    "clinc150": [json.dumps(CLINC).encode()],
    "massive": [write_massive()],
}


class Host(ThreadingHTTPServer):
    """Gives out files; `answers` has what it says before that."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.answers = []
        self.requests = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        host = self.server
        host.requests.append(self.path)
        status = host.answers.pop(0) if host.answers else 200
        content = host.files[self.path]
        if status == "short":
            status, content = 200, content[:10]
        self.send_response(status)
        self.send_header("Content-Length", str(len(host.files[self.path])))
        if self.path.endswith("gz"):
            self.send_header("Content-Encoding", "gzip")  # as some hosts say of an archive
        if status == 302:
            self.send_header("Location", self.path)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def host(monkeypatch):
    """A host that has all files, whose addresses and hashes take the place of the real ones."""
    host = Host()
    sources = {}
    for name, source in intents._SOURCES.items():
        files = []
        for file, content in zip(source.files, CONTENTS[name]):
            path = "/" + file.url.rpartition("/")[2]
            host.files[path] = content
            url = f"http://127.0.0.1:{host.server_address[1]}{path}"
            files.append(RemoteFile(file.name, url, hashlib.sha256(content).hexdigest()))
        sources[name] = intents._Source(tuple(files), source.parse)
    monkeypatch.setattr(intents, "_SOURCES", sources)
    yield host
    host.shutdown()
    host.server_close()


@pytest.mark.parametrize("name", CONTENTS)
def test_both_sides_are_the_authors(host, tmp_path, name):
    X_train, y_train, X_test, y_test = fetch_intents(name, data_home=tmp_path)
    assert sorted(zip(X_train, y_train)) == sorted(TRAIN)
    assert sorted(zip(X_test, y_test)) == sorted(TEST)
    assert {*y_train[:3]} == {"get_card", "get_loan", "get_pin"}


def test_downloaded_once(host, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    first = fetch_intents(random_state=1)
    assert host.requests == ["/train.csv", "/test.csv"]
    assert fetch_intents(random_state=1, download_if_missing=False) == first
    assert fetch_intents(random_state=2)[0] != first[0]
    assert len(host.requests) == 2
    kept = sorted(path.name for path in (tmp_path / "pgkd").iterdir())
    assert kept == ["banking77-test.csv", "banking77-train.csv"]


def test_fewer_texts_are_the_first_of_more(host, tmp_path):
    few = fetch_intents(n_train=4, n_test=1, data_home=tmp_path)
    many = fetch_intents(data_home=tmp_path)
    assert [len(side) for side in few] == [4, 4, 1, 1]
    for side, longer in zip(few, many):
        assert longer[: len(side)] == side


@pytest.mark.parametrize(("answers", "n_requests"), [([503, 429], 3), (["short"], 2), ([302], 2)])
def test_what_passes_is_tried_again(host, tmp_path, answers, n_requests):
    host.answers = answers
    fetch_intents("clinc150", data_home=tmp_path, delay=0)
    assert len(host.requests) == n_requests


@pytest.mark.parametrize(
    ("answers", "n_requests", "message"),
    [([404], 1, "404 Not Found"), ([500] * 9, 3, "500 Internal"), (["short"] * 9, 3, "closed")],
)
def test_what_does_not_pass_leaves_nothing(host, tmp_path, answers, n_requests, message):
    host.answers = answers
    with pytest.raises(DatasetNotFoundError, match=f"cannot be downloaded.*{message}") as error:
        fetch_intents("clinc150", data_home=tmp_path, n_retries=2, delay=0)
    assert len(host.requests) == n_requests
    assert str(tmp_path / "pgkd" / "clinc150.json") in str(error.value)  # where to put it by hand
    assert not [*tmp_path.rglob("*.*")]


def test_another_content_is_refused(host, tmp_path):
    host.files["/data_full.json"] = b"{}"
    with pytest.raises(DatasetNotFoundError, match="sends has the SHA-256 44136fa.* instead of"):
        fetch_intents("clinc150", data_home=tmp_path)
    assert len(host.requests) == 1
    assert not [*tmp_path.rglob("*.*")]


def test_offline(host, tmp_path):
    """A file that was brought by hand is taken if it is the right one."""
    options = {"data_home": tmp_path, "n_retries": 0}
    host.shutdown()
    host.server_close()
    with pytest.raises(
        OSError, match="cannot be downloaded.*ConnectError.*Check the network"
    ) as own:
        fetch_intents("clinc150", **options)
    assert own.value.__suppress_context__  # the traceback of the network is long
    with pytest.raises(OSError, match="is not there, and `download_if_missing` is False"):
        fetch_intents("clinc150", **options, download_if_missing=False)
    file = tmp_path / "pgkd" / "clinc150.json"
    file.parent.mkdir()
    file.write_bytes(CONTENTS["clinc150"][0])
    assert len(fetch_intents("clinc150", **options)[0]) == len(TRAIN)
    file.write_bytes(b"{}")
    with pytest.raises(OSError, match="has the SHA-256 44136fa.*`download_if_missing` is False"):
        fetch_intents("clinc150", **options, download_if_missing=False)


def test_a_damaged_file_is_downloaded_again(host, tmp_path):
    expected = fetch_intents("massive", data_home=tmp_path)
    (tmp_path / "pgkd" / "massive-1.0.tar.gz").write_bytes(b"half of it")
    assert fetch_intents("massive", data_home=tmp_path) == expected
    assert len(host.requests) == 2


def test_folder_that_cannot_be_written(host, tmp_path):
    (tmp_path / "pgkd").write_text("a file")
    with pytest.raises(
        DatasetNotFoundError, match="Cannot keep clinc150.json.*pass another `data_home`"
    ):
        fetch_intents("clinc150", data_home=tmp_path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "banking"}, "must be one of .*Got 'banking'. Did you mean 'banking77'?"),
        ({"n_train": 2}, r"`n_train` must be in \[3, 12\] at name='banking77'. Got 2"),
        ({"n_test": 0}, r"`n_test` must be in \[1, 2\]"),
    ],
)
def test_bad_arguments(host, tmp_path, kwargs, message):
    with pytest.raises(InvalidInputError, match=message):
        fetch_intents(data_home=tmp_path, **kwargs)


def test_real_files_are_pinned():
    """Each address names a commit or a version, and each content a SHA-256."""
    for source in intents._SOURCES.values():
        for file in source.files:
            assert file.url.startswith("https://")
            assert any(pin in file.url for pin in ("57ec275d", "828f8093", "1.0.tar.gz"))
            assert len(bytes.fromhex(file.sha256)) == 32

"""A small Hugging Face hub: the few addresses that uploads and downloads of models need."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_nobody_1234567890"


class Hub(ThreadingHTTPServer):
    """Repositories in memory; each has one commit, the newest."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos = {}
        self.private = {}
        self.messages = []
        self.fetched = []
        self.unknown = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def get_commit(self, repo):
        names = json.dumps([(name, hash(data)) for name, data in self.repos[repo].items()])
        return hashlib.sha1(names.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, document=None, headers=(), data=None):
        body = json.dumps(document or {}).encode() if data is None else data
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **dict(headers)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        # The hub's client goes by this header. A careless server repeats what it got.
        got = self.headers.get("Authorization")
        headers = {"X-Error-Code": code, "X-Error-Message": f"Refused: {got}"}
        self.answer(status, {"error": f"Refused: {got}"}, headers)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub = self.server
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "")
        if self.path == "/api/repos/create":
            given = json.loads(body)
            repo = "/".join(filter(None, [given.get("organization"), given["name"]]))
            if repo in hub.repos:
                return self.answer(409, {"error": "exists", "url": f"{hub.url}/{repo}"})
            hub.repos[repo] = {}
            hub.private[repo] = given.get("private", given.get("visibility"))
            return self.answer(200, {"url": f"{hub.url}/{repo}", "name": repo})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        if not found or found[1] not in hub.repos:
            hub.unknown.append(self.path)
            return self.refuse(404, "RepoNotFound")
        if found[2] == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        files = hub.repos[found[1]]
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                hub.messages.append(value["summary"])
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        commit = hub.get_commit(found[1])
        url = f"{hub.url}/{found[1]}/commit/{commit}"
        return self.answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def do_GET(self):
        hub = self.server
        path = self.path.partition("?")[0]
        found = re.match(
            r"(?:/api/models)?/([^/]+/[^/]+)(?:/(revision|tree|resolve)/([^/]+)/?(.*))?$", path
        )
        if not found or found[1] not in hub.repos:
            hub.unknown.append(self.path)
            return self.refuse(404, "RepoNotFound")
        repo, what, revision, name = found.groups()
        files, commit = hub.repos[repo], hub.get_commit(repo)
        if revision not in (None, "main", commit):
            return self.refuse(404, "RevisionNotFound")
        if what in (None, "revision"):
            siblings = [{"rfilename": own} for own in files]
            model = {"id": repo, "modelId": repo, "sha": commit, "private": False, "tags": []}
            return self.answer(200, {**model, "siblings": siblings})
        if what == "tree":
            entries = [
                {"type": "file", "path": own, "size": len(data), "oid": make_id(data)}
                for own, data in files.items()
            ]
            return self.answer(200, data=json.dumps(entries).encode())
        headers = {"X-Repo-Commit": commit}
        if name not in files:
            headers |= {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self.answer(404, headers=headers)
        hub.fetched.append(name)
        return self.answer(
            200, headers={**headers, "ETag": f'"{make_id(files[name])}"'}, data=files[name]
        )

    do_HEAD = do_GET


def make_id(data):
    return hashlib.sha1(data).hexdigest()

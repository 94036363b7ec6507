"""The batch APIs of OpenAI and Anthropic on loopback, held to the shape that they publish."""

import email
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pgkd.testing.fault_server.answers import Writer
from pgkd.testing.fault_server.anthropic import Anthropic
from pgkd.testing.fault_server.openai import OpenAI

EXPIRED, CANCELLED = "expired", "cancelled"


class BatchServer(ThreadingHTTPServer):
    """Serves batches; their fate is told by the attributes.

    Attributes
    ----------
    play : function
        ``play(body, batch_number)`` returns the fate of a request: ``None`` for a good answer, an
        error's status, a document, EXPIRED or CANCELLED.
    n_polls : int
        How often a batch is said to be under way.
    running : threading.Event
        Batches are finished only while it is set.
    end : dict
        What an OpenAI batch says in the end, instead of that it is completed.
    batches : list of list
        The requests of each batch: pairs of key and body.
    polls : list of (float, batch id)
    outages : list of int
        Statuses that the next requests of any kind are answered with.
    outages_later : list of int
        The same, from the first look at a batch on.
    gone : set of str
        Ids of what is not found.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.play = lambda body, number: None
        self.n_polls, self.end, self.running = 0, {}, threading.Event()
        self.running.set()
        self.batches, self.polls, self.files, self.wrong = [], [], {}, []
        self.headers, self.outages, self.outages_later, self.gone = [], [], [], set()
        self.lock, self.writer = threading.Lock(), Writer(0, 1)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)
        assert not self.wrong, self.wrong[0]

    def begin(self, provider, requests, headers):
        keys = [key for key, _ in requests]
        assert len(set(keys)) == len(keys), "keys must be unique"
        assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", key) for key in keys)
        for _, body in requests:
            provider.check(headers, body)
        self.batches.append(requests)
        return f"batch_{len(self.batches)}"

    def poll(self, batch):
        """Tell whether a batch is finished."""
        self.polls.append((time.monotonic(), batch))
        self.outages, self.outages_later = self.outages_later, []
        n = sum(polled == batch for _, polled in self.polls)
        return n > self.n_polls and self.running.is_set()

    def fates(self, provider, batch):
        """Yield key, status, document; the last batch's requests come in another order."""
        number = int(batch.split("_")[1])
        for key, body in reversed(self.batches[number - 1]):
            fate = self.play(body, number)
            if fate is None:
                answer = self.writer.write(provider.find_schema(body))
                yield key, 200, provider.write(body, answer, number)
            elif isinstance(fate, int):
                names = (name for name in ("logprobs", "temperature") if name in body)
                what = next((f"{name} is not supported" for name in names), "no")
                yield key, fate, provider.error(fate, what)
            elif isinstance(fate, dict):
                yield key, 200, fate
            else:
                yield key, fate, None

    # OpenAI

    def upload(self, content_type, raw, headers):
        head = f"Content-Type: {content_type}\n\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part
            for part in email.message_from_bytes(head + raw).get_payload()
        }
        assert parts["purpose"].get_payload() == "batch"
        assert parts["file"].get_filename().endswith(".jsonl")
        name = f"file-{len(self.files)}"
        self.files[name] = parts["file"].get_payload(decode=True).decode()
        return {"id": name, "object": "file", "purpose": "batch"}

    def create_openai(self, body, headers):
        assert set(body) == {"input_file_id", "endpoint", "completion_window"}
        assert body["completion_window"] == "24h"
        requests = []
        for line in self.files[body["input_file_id"]].split("\n"):
            request = json.loads(line)
            assert set(request) == {"custom_id", "method", "url", "body"}
            assert (request["method"], request["url"]) == ("POST", body["endpoint"])
            requests.append((request["custom_id"], request["body"]))
        assert len({body["model"] for _, body in requests}) == 1
        return {"id": self.begin(OpenAI(), requests, headers), "status": "validating"}

    def retrieve_openai(self, batch):
        if not self.poll(batch):
            return {"id": batch, "object": "batch", "status": "in_progress", "output_file_id": None}
        output, errors = [], []
        for key, status, document in self.fates(OpenAI(), batch):
            line = {"id": f"batch_req_{key[:6]}", "custom_id": key, "response": None, "error": None}
            if isinstance(status, int):
                line["response"] = {"status_code": status, "request_id": "", "body": document}
            else:
                line["error"] = {"code": f"batch_{status}", "message": f"The batch {status}."}
            (output if status == 200 else errors).append(json.dumps(line, ensure_ascii=False))
        document = {"id": batch, "object": "batch", "status": "completed", "errors": None}
        for name, lines in (("output_file_id", output), ("error_file_id", errors)):
            document[name] = f"{batch}-{name}" if lines else None
            self.files[f"{batch}-{name}"] = "\n".join(lines) + "\n"
        return document | self.end

    # Anthropic

    def create_anthropic(self, body, headers):
        assert set(body) == {"requests"}
        assert all(set(request) == {"custom_id", "params"} for request in body["requests"])
        requests = [(request["custom_id"], request["params"]) for request in body["requests"]]
        batch = self.begin(Anthropic(), requests, headers)
        return {"id": batch, "type": "message_batch", "processing_status": "in_progress"}

    def retrieve_anthropic(self, batch):
        ended = self.poll(batch)
        return {
            "id": batch,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "results_url": f"{self.url}/v1/messages/batches/{batch}/results" if ended else None,
        }

    def results(self, batch):
        lines = []
        for key, status, document in self.fates(Anthropic(), batch):
            result = {"type": "canceled" if status == CANCELLED else status}
            if isinstance(status, int):
                result = {"type": "succeeded", "message": document}
                if status != 200:
                    result = {"type": "errored", "error": document}
            lines.append(json.dumps({"custom_id": key, "result": result}, ensure_ascii=False))
        return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server, kind = self.server, headers["content-type"]
        routes = {
            "/v1/files": lambda: server.upload(kind, raw, headers),
            "/v1/batches": lambda: server.create_openai(json.loads(raw), headers),
            "/v1/messages/batches": lambda: server.create_anthropic(json.loads(raw), headers),
        }
        self.answer(routes.get(self.path))

    def do_GET(self):
        server = self.server
        *start, name = self.path.removesuffix("/content").removesuffix("/results").split("/")
        routes = {
            "/v1/files": lambda: server.files[name],
            "/v1/batches": lambda: server.retrieve_openai(name),
            "/v1/messages/batches": lambda: (
                server.results(name)
                if self.path.endswith("/results")
                else server.retrieve_anthropic(name)
            ),
        }
        self.answer(None if name in server.gone else routes.get("/".join(start)))

    def answer(self, route):
        server = self.server
        with server.lock:
            server.headers.append(self.headers)
            status, document = 404, {"error": {"message": "not found"}}
            if server.outages:
                status = server.outages.pop(0)
            elif route is not None:
                try:
                    status, document = 200, route()
                except Exception as error:
                    server.wrong.append(f"{error!r} at {self.path}")
                    status = 400
        content = document if isinstance(document, str) else json.dumps(document)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *args):
        pass

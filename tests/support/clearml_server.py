"""As much of a ClearML server as its client needs to report a task: it keeps what it is told in dictionaries."""

import base64
import gzip
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ACCESS, SECRET = "ACCESSKEY0001", "never-show-this-secret"


def token():
    """A JSON web token without a signature worth the name: the client does not check it."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"exp": int(time.time()) + 3600, "api_version": "2.30", "server_version": "2.0.0"}, {}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


class ClearMLServer:
    """Tasks, their events and uploaded files; `broken` is a status to answer everything with, or "silent"."""

    def __init__(self):
        self.tasks, self.events, self.calls, self.files, self.unknown = {}, [], [], {}, []
        self.broken = None
        self.address = None

    def scalars(self, task_id):
        return sorted((e["metric"], e["variant"], e["iter"], e["value"]) for e in self.events
                      if e["type"] == "training_stats_scalar" and e["task"] == task_id)  # fmt: skip

    def answer(self, call, data):
        """The `data` part of the answer to `service.action`."""
        self.calls.append(call)
        task = self.tasks.get(data.get("task")) if isinstance(data, dict) else None
        if call == "auth.login":
            return {"token": token()}
        if call == "tasks.create":
            identity = f"{len(self.tasks) + 1:032x}"
            self.tasks[identity] = {"id": identity, "status": "created", "last_iteration": 0, "script": {}, "execution": {"artifacts": []}} | data
            return {"id": identity}
        if call in ("tasks.get_by_id", "tasks.get_all", "tasks.get_all_ex"):
            if task is not None:
                return {"task": task}
            wanted = data.get("id")
            found = [t for t in self.tasks.values() if wanted is None or t["id"] in wanted]
            return {"tasks": found}
        if call in ("tasks.started", "tasks.stopped", "tasks.completed", "tasks.failed", "tasks.stop"):
            status = {"started": "in_progress", "stop": "stopped"}.get(call.split(".")[1], call.split(".")[1])
            task.update(status=status, status_message=data.get("status_message", ""))
            return {"updated": 1, "started": 1, "fields": {"status": status}}
        if call in ("tasks.edit", "tasks.update"):
            task.update({key: value for key, value in data.items() if key != "task"})
            return {"updated": 1, "fields": {}}
        if call in ("tasks.edit_hyper_params", "tasks.edit_configuration"):
            task.setdefault(call.split("edit_")[1], []).extend(data.get("hyperparams", data.get("configuration", [])))
            return {"updated": 1}
        if call == "tasks.add_or_update_artifacts":
            task["execution"]["artifacts"] += data["artifacts"]
            return {"updated": 1, "added": [], "updated_": []}
        if call == "projects.get_all" or call == "projects.get_all_ex":
            return {"projects": [{"id": "p" * 32, "name": "SoundDetect"}]}
        if call == "projects.create":
            return {"id": "p" * 32}
        self.unknown.append(call)
        return {}


@contextmanager
def clearml_server():
    """A running `ClearMLServer` for API and files."""
    state = ClearMLServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if state.broken == "silent":
                time.sleep(1000)
            if state.broken:
                return self.reply(state.broken, b"broken")
            call = self.path.split("?")[0].strip("/")
            call = call.split("/")[-1]
            if "." not in call or self.command == "PUT" or "multipart" in self.headers.get("Content-Type", ""):
                state.files[self.path] = body
                return self.reply(200, b"{}")
            if call == "auth.login" and self.headers.get("Authorization") != "Basic " + base64.b64encode(f"{ACCESS}:{SECRET}".encode()).decode():
                return self.reply(401, b'{"meta": {"result_code": 401, "result_msg": "Unauthorized"}, "data": {}}')
            if call == "events.add_batch":
                state.calls.append(call)
                state.events += [json.loads(line) for line in body.decode().splitlines() if line.strip()]
                data = {"added": 1, "errors": 0, "errors_info": {}}
            else:
                data = state.answer(call, json.loads(body or b"{}"))
            meta = {"id": "1", "trx": "1", "endpoint": {"name": call, "requested_version": "2.30", "actual_version": "1.0"},
                    "result_code": 200, "result_subcode": 0, "result_msg": "OK", "error_stack": None}  # fmt: skip
            self.reply(200, json.dumps({"meta": meta, "data": data}).encode())

        do_GET = do_POST = do_PUT = handle_any

        def do_HEAD(self):
            self.reply(200, b"")

        def reply(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def variables(address):
    """The five variables that lead ClearML to a server."""
    return {"CLEARML_API_HOST": address, "CLEARML_WEB_HOST": address, "CLEARML_FILES_HOST": address,
            "CLEARML_API_ACCESS_KEY": ACCESS, "CLEARML_API_SECRET_KEY": SECRET}  # fmt: skip

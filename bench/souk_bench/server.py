"""A server of a run's own: its process, its data directory, its HTTP API for what has to be prepared."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time

ADMIN = ("admin@bench.example", "a password for the bench")

# Everything that limits a caller is out of the way; loopback is exempt from volume limits anyway.
SETTINGS = {
    "SOUK_HTTP__ACTIVE_MAX": "16384",
    "SOUK_HTTP__WAITING_MAX": "16384",
    "SOUK_HTTP__WAITING_PER_CALLER_MAX": "16384",
    "SOUK_HTTP__QUEUE_MAX": "16384",
    "SOUK_AUTH__ACCESS_TTL_MS": "86400000",
    "SOUK_LOG__FILTER": "warn",
    "SOUK_BOOTSTRAP_ADMIN_EMAIL": ADMIN[0],
    "SOUK_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1],
}


class Server:
    """`souk serve` on a free port; `store` is an embedded engine, or a shared store's URL. What it logs is in `DATA.log`."""

    def __init__(self, binary, data, store="sled", settings=None, ready_patience=600):
        self.binary, self.data, self.store = binary, data, store
        # `None`: as the server's own default is.
        self.settings = {name: value for name, value in {**SETTINGS, **(settings or {})}.items() if value is not None}
        self.ready_patience = ready_patience
        self.process = None
        self.start()

    def start(self):
        """Starts it; what is measured of it is how long until it listens and until it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")}
        environment.update(self.settings)
        command = [self.binary, "serve", "--http", "127.0.0.1:0"]
        if "://" in self.store:
            command += ["--store", self.store.split("://")[0], "--store-url", self.store]
        else:
            command += ["--data", self.data, "--store", self.store]
        os.makedirs(os.path.dirname(self.data), exist_ok=True)
        began = time.monotonic()
        with open(self.data + ".log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        line = self.process.stdout.readline().decode()
        if "listening on http://" not in line:
            self.process.wait()
            self.process.stdout.close()
            if self.drop_unknown():
                return self.start()
            raise SystemExit(f"{self.binary} did not start: {line!r}; see {self.data}.log")
        self.addr = line.strip().split("http://")[1]
        self.listening_s = time.monotonic() - began
        while True:
            try:
                if self.call("GET", "/readyz", ok=range(200, 600))[0] == 200:
                    break
            except OSError:
                pass
            if time.monotonic() - began > self.ready_patience:
                raise SystemExit(f"{self.binary} is not ready after {self.ready_patience} s")
            time.sleep(0.005)
        self.ready_s = time.monotonic() - began

    def drop_unknown(self):
        """An older binary does not know every setting, and says which: whether there is one to leave out."""
        with open(self.data + ".log", encoding="utf-8") as log:
            unknown = set(re.findall(r"^ *(SOUK_\w+): .*unknown key", log.read(), re.MULTILINE))
        known = {name: value for name, value in self.settings.items() if name not in unknown}
        dropped, self.settings = len(self.settings) - len(known), known
        return dropped > 0

    def stop(self, kill=False):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def discard(self, keep=False):
        self.stop(kill=not keep)
        if not keep:
            shutil.rmtree(self.data, ignore_errors=True)
            if os.path.exists(self.data + ".log"):
                os.remove(self.data + ".log")

    def call(self, method, path, body=None, headers=None, ok=range(200, 300)):
        """One request; the answer is its status and its JSON (or text)."""
        host, port = self.addr.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        headers = dict(headers or {})
        if body is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status not in ok:
            raise SystemExit(f"{method} {path} was answered {answer.status}: {text[:500]}")
        is_json = "json" in (answer.getheader("content-type") or "")
        return answer.status, json.loads(text) if is_json and text else text

    def log_in(self, email=ADMIN[0], password=ADMIN[1]):
        """The header that says who it is."""
        tokens = self.call("POST", "/v1/auth/login", {"email": email, "password": password})[1]
        return {"Authorization": "Bearer " + tokens["access_token"]}

    def metric(self, name):
        """The sum of a metric over its labels."""
        total = 0.0
        for line in self.call("GET", "/metrics")[1].splitlines():
            if line.split("{")[0].split(" ")[0] == name:
                total += float(line.rsplit(" ", 1)[1])
        return total

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stored_bytes(self):
        total = 0
        for folder, _, files in os.walk(self.data):
            total += sum(os.path.getsize(os.path.join(folder, name)) for name in files)
        return total

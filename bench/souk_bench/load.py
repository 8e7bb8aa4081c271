"""The load generator (bench/load), called."""

import json
import os
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def build(say):
    say("building the load generator")
    target = os.path.join(ROOT, "target", "load")
    manifest = os.path.join(ROOT, "bench", "load", "Cargo.toml")
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--manifest-path", manifest, "--target-dir", target]
    subprocess.run(command, check=True)
    return os.path.join(target, "release", "load")


def request(method, path, headers=None, body=None):
    """A line for the generator."""
    headers = "|".join(f"{name}: {value}" for name, value in (headers or {}).items())
    if body is not None and not isinstance(body, str):
        body = json.dumps(body, separators=(",", ":"))
    return f"{method}\t{path}\t{headers}\t{body or ''}"


class Load:
    def __init__(self, generator, folder):
        self.generator, self.folder = generator, folder

    def run(self, server, requests, allow_failures=False, save=False, trace=False, **options):
        """Sends `requests` (lines, or the file that has them); the answer is the generator's report.

        Without `allow_failures`, anything but success ends the run: a bench of refusals is no bench.
        """
        made = []

        def scratch(suffix):
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=suffix)
            os.close(handle)
            made.append(name)
            return name

        if not isinstance(requests, str):
            name = scratch(".requests")
            with open(name, "w", encoding="utf-8") as file:
                file.write("\n".join(requests) + "\n")
            requests = name
        command = [self.generator, "--addr", server.addr, "--requests", requests]
        for option, value in options.items():
            if value is True:
                command.append(f"--{option}")
            elif value not in (None, False):
                command += [f"--{option}", str(value)]
        saved = scratch(".saved") if save else None
        traced = scratch(".trace") if trace else None
        command += ["--save", saved] if save else []
        command += ["--trace", traced] if trace else []
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"the load generator failed: {done.stderr.strip()}")
            report = json.loads(done.stdout)
            if save:
                report["saved"] = [line.split("\t") for line in open(saved, encoding="utf-8").read().splitlines()]
            if trace:
                lines = open(traced, encoding="utf-8").read().splitlines()
                report["trace"] = [tuple(map(int, line.split("\t"))) for line in lines]
        finally:
            for name in made:
                os.remove(name)
        failed = sum(count for status, count in report["statuses"].items() if int(status) >= 400)
        if (failed or report["io_errors"]) and not allow_failures:
            raise SystemExit(f"{failed} requests failed, {report['io_errors']} broke: {report['first_failure']}")
        return report

    def hello(self, server, seconds, connections=64):
        """The rate of the constant route."""
        return self.run(server, [request("GET", "/livez")], seconds=seconds, connections=connections)["rate"]

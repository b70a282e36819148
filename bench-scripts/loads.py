"""The load of a run: wrk for HTTP/1.1, h2load for HTTP/2, and TLS handshakes."""

import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from clients import ANSWER_SECONDS, WrongAnswer, fields
from processes import step_aside
from programs import SCRIPTS, found
from scenarios import Company, Scenario

#: What a load generator may take beyond the time it was given before it is ended.
GRACE_SECONDS = 20
#: What the requests for one URL may take that are made all at once.
COLLAPSE_SECONDS = 20
NO_ERRORS = {"status": 0, "connect": 0, "read": 0, "write": 0, "timeout": 0}


class Load:
    """One run of a load generator; it has begun when this exists, and ends by itself."""

    def __init__(self, argv: list[str], cpus: list[int], seconds: int):
        self.name = Path(argv[0]).name
        self.seconds = seconds
        pinned = ["taskset", "-c", ",".join(map(str, cpus)), *argv]
        self.child = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def figures(self) -> dict:
        """Waits for the end and returns what it counted."""
        try:
            output, _ = self.child.communicate(timeout=self.seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise WrongAnswer(f"{self.name} did not end in time") from None
        text = output.decode(errors="replace")
        try:
            return self.read(text)
        except (LookupError, ValueError, AttributeError):
            raise WrongAnswer(f"{self.name} printed no figures: {text[-300:]}") from None

    def read(self, output: str) -> dict:
        """The figures in what was printed: a line of JSON behind a word of its own."""
        line = next(line for line in reversed(output.splitlines()) if line.startswith("load-figures "))
        return json.loads(line.partition(" ")[2])


class Wrk(Load):
    """wrk, which prints its figures by `wrk.lua`."""

    def __init__(self, scenario: Scenario, port: int, cpus: list[int], seconds: int):
        #: What the queries of this load begin with, if each request is for a new URL.
        self.token = str(time.time_ns()) if scenario.new_urls else ""
        argv = [found("wrk"), "-t", str(min(2, len(cpus))), "-c", str(scenario.connections), "-d", f"{seconds}s",
                "--timeout", f"{ANSWER_SECONDS}s", "-s", str(SCRIPTS / "wrk.lua")]
        if scenario.close:
            argv += ["-H", "Connection: close"]
        scheme = "https" if scenario.tls else "http"
        argv += [f"{scheme}://127.0.0.1:{port}{scenario.path}", "--", scenario.method, str(scenario.body_bytes)]
        argv += [self.token] * scenario.new_urls
        super().__init__(argv, cpus, seconds)


class H2load(Load):
    """h2load, whose log has the time of every request; over HTTP/1.1 for requests at a rate."""

    def __init__(self, scenario: Scenario, port: int, cpus: list[int], seconds: int):
        self.folder = tempfile.TemporaryDirectory(prefix="palantir-compare-", dir="/dev/shm")
        self.log = Path(self.folder.name, "log")
        argv = [found("h2load"), "-c", str(scenario.connections), "-m", str(scenario.streams), "-D", str(seconds),
                "-t", str(min(2, len(cpus), scenario.connections)), f"--log-file={self.log}",
                "--connection-active-timeout", f"{seconds + ANSWER_SECONDS}s"]
        if scenario.rate:
            argv += ["--rps", str(scenario.rate)]
        if not scenario.http2:
            argv.append("--h1")
        if scenario.method != "GET":
            body = Path(self.folder.name, "body")
            body.write_bytes(scenario.request_body())
            argv += ["-d", str(body)]
        for name, value in fields(scenario).items():
            argv += ["-H", f"{name}: {value}"]
        scheme = "https" if scenario.tls else "http"
        super().__init__([*argv, f"{scheme}://127.0.0.1:{port}{scenario.path}"], cpus, seconds)

    def __exit__(self, *failure):
        super().__exit__(*failure)
        self.folder.cleanup()

    def read(self, output: str) -> dict:
        requests = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        succeeded, failed, errored, late = map(int, requests.groups())
        data = re.search(r"\((\d+)\) data", output)
        # When it began, status, time: in microseconds.
        times = sorted(int(line.rsplit("\t", 1)[1]) for line in self.log.read_text().splitlines())
        return {
            "requests": succeeded,
            "bytes": int(data.group(1)),
            "duration_us": self.seconds * 1_000_000,
            **{name: times[int(len(times) * share)] for name, share in
               (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999))},
            "errors": {**NO_ERRORS, "status": failed - errored - late if failed > errored + late else 0,
                       "read": errored, "timeout": late},
        }


class Handshakes(Load):
    """TLS connections that are made, one after the other in each of several processes, and closed."""

    def __init__(self, scenario: Scenario, port: int, cpus: list[int], seconds: int):
        argv = [sys.executable, str(SCRIPTS / "handshakes.py"), str(port), str(seconds), str(scenario.connections),
                "resumed" if scenario.resumed else "full"]
        super().__init__(argv, cpus, seconds)


class Collapse(Load):
    """Requests for one URL, all at once, and the backend that they are for; see `collapse.py`."""

    def __init__(self, scenario: Scenario, port: int, backend_port: int, cpus: list[int], urls: int):
        super().__init__([sys.executable, str(SCRIPTS / "collapse.py"), str(port), str(backend_port),
                          str(scenario.connections), str(urls)], cpus, COLLAPSE_SECONDS * urls)


class Beside(Load):
    """The company of a load, which is not to keep those who measure from their CPU."""

    def __init__(self, company: Company, port: int, cpus: list[int], seconds: int):
        url = f"http://127.0.0.1:{port}{company.path}"
        super().__init__([found("wrk"), "-t", "1", "-c", str(company.connections), "-d", f"{seconds}s", "--timeout",
                          f"{ANSWER_SECONDS}s", "-s", str(SCRIPTS / "wrk.lua"), url, "--", company.method,
                          str(company.body_bytes)], cpus, seconds)
        step_aside(self.child.pid)


class Flood(Load):
    """An attack; see `floods.py`."""

    def __init__(self, scenario: Scenario, port: int, cpus: list[int], seconds: int):
        super().__init__([sys.executable, str(SCRIPTS / "floods.py"), str(port), str(seconds), scenario.flood], cpus,
                         seconds)


def beside(scenario: Scenario, port: int, cpus: list[int], seconds: int) -> AbstractContextManager[Load | None]:
    """Starts what runs beside the load of a scenario, if anything does."""
    if scenario.company:
        return Beside(scenario.company, port, cpus, seconds)
    return Flood(scenario, port, cpus, seconds) if scenario.flood else nullcontext()


def load(scenario: Scenario, port: int, cpus: list[int], seconds: int) -> Load:
    """Starts the load of a scenario."""
    if scenario.kind == "handshakes":
        return Handshakes(scenario, port, cpus, seconds)
    return (H2load if scenario.by_h2load else Wrk)(scenario, port, cpus, seconds)

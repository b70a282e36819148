"""The clients of a run: a careful one that checks single answers, wrk for load, and many idle connections."""

import json
import socket
import subprocess

from programs import SCRIPTS, found
from scenarios import Scenario

ANSWER_SECONDS = 10
#: What wrk may take beyond the time it was given before it is ended.
WRK_GRACE_SECONDS = 20


class WrongAnswer(Exception):
    """A proxy answered something else than the origin sent."""


def request_bytes(scenario: Scenario, port: int) -> bytes:
    """The request of a scenario, as wrk sends it."""
    fields = [f"{scenario.method} {scenario.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if scenario.close:
        fields.append("Connection: close")
    if scenario.body_bytes:
        fields.append(f"Content-Length: {scenario.body_bytes}")
    return "\r\n".join(fields).encode() + b"\r\n\r\n" + b"p" * scenario.body_bytes


def read_answer(connection: socket.socket) -> tuple[int, bytes, int]:
    """(status, body, bytes of head) of one answer with a Content-Length; raises WrongAnswer for anything else."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    if b"content-length" not in fields:
        raise WrongAnswer(f"an answer without Content-Length: {head[:200]!r}")
    length = int(fields[b"content-length"])
    pieces, missing = [body], length - len(body)
    while missing > 0:
        pieces.append(more(connection))
        missing -= len(pieces[-1])
    if missing < 0:
        raise WrongAnswer(f"{-missing} bytes more than Content-Length announces")
    return int(lines[0].split()[1]), b"".join(pieces), len(head) + 4


def more(connection: socket.socket) -> bytes:
    """The next bytes; a connection that ends here ended too early."""
    piece = connection.recv(1 << 18)
    if not piece:
        raise WrongAnswer("the connection was closed in the middle of an answer")
    return piece


def check_answer(scenario: Scenario, port: int) -> int:
    """Sends a scenario's request twice on one connection (once where it is to be closed), compares the answers with
    what the origin sends, and returns the size of one whole answer in bytes."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
            for _ in range(1 if scenario.close else 2):
                connection.sendall(request_bytes(scenario, port))
                status, body, head_bytes = read_answer(connection)
                if status != 200 or body != scenario.expected_body():
                    raise WrongAnswer(f"{scenario.method} {scenario.path}: status {status}, "
                                      f"{len(body)} bytes that begin with {body[:60]!r}")
            if scenario.close and connection.recv(1) != b"":
                raise WrongAnswer("the connection goes on after `Connection: close`")
    except OSError as failure:
        raise WrongAnswer(f"{scenario.method} {scenario.path}: {failure}") from None
    return head_bytes + len(body)


def origin_requests(port: int) -> int:
    """How many requests the origin has answered since it started, from its `stub_status` page."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(b"GET /origin-status HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
        _, body, _ = read_answer(connection)
    return int(body.decode().splitlines()[2].split()[2])


class Wrk:
    """One run of wrk; it has begun when this exists, and ends by itself."""

    def __init__(self, scenario: Scenario, port: int, cpus: list[int], seconds: int):
        threads = min(2, len(cpus))
        argv = ["taskset", "-c", ",".join(map(str, cpus)), found("wrk"), "-t", str(threads),
                "-c", str(scenario.connections), "-d", f"{seconds}s", "--timeout", f"{ANSWER_SECONDS}s",
                "-s", str(SCRIPTS / "wrk.lua")]
        if scenario.close:
            argv += ["-H", "Connection: close"]
        argv += [f"http://127.0.0.1:{port}{scenario.path}", "--", scenario.method, str(scenario.body_bytes)]
        self.seconds = seconds
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def figures(self) -> dict:
        """Waits for the end and returns what `wrk.lua` printed."""
        try:
            output, _ = self.child.communicate(timeout=self.seconds + WRK_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise WrongAnswer("wrk did not end in time") from None
        for line in output.decode(errors="replace").splitlines():
            if line.startswith("wrk-figures "):
                return json.loads(line.partition(" ")[2])
        raise WrongAnswer(f"wrk printed no figures: {output.decode(errors='replace')[-300:]}")


class IdleConnections:
    """Connections that each did one request, checked as every other answer is, and then stay open."""

    def __init__(self, scenario: Scenario, port: int):
        self.scenario = scenario
        self.port = port
        self.open: list[socket.socket] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.open:
            connection.close()

    def connect(self, count: int) -> None:
        """Opens `count` more, one after the other."""
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS)
            self.open.append(connection)
            self.exchange(connection)

    def exchange(self, connection: socket.socket) -> None:
        """One request and its checked answer."""
        connection.sendall(request_bytes(self.scenario, self.port))
        status, body, _ = read_answer(connection)
        if status != 200 or body != self.scenario.expected_body():
            raise WrongAnswer(f"status {status} and {body[:60]!r} on one of the idle connections")

    def check_alive(self) -> None:
        """Every connection must still be open, and some of them answer a second request."""
        for connection in self.open:
            connection.setblocking(False)
            try:
                connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                connection.settimeout(ANSWER_SECONDS)
                continue
            raise WrongAnswer("an idle connection was closed, or received bytes that nobody asked for")
        for connection in self.open[::100]:
            self.exchange(connection)

"""The careful clients of a run: one that checks single answers, and many idle connections."""

import re
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from programs import found
from scenarios import Scenario

ANSWER_SECONDS = 10


class WrongAnswer(Exception):
    """A proxy answered something else than the origin sent."""


def request_bytes(scenario: Scenario, port: int, number: int | None = None) -> bytes:
    """The request of a scenario over HTTP/1.1, as wrk sends it; with its number, if it has one."""
    fields = [f"{scenario.method} {scenario.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if number is not None:
        fields.append(f"X-Number: {number}")
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


def connect(scenario: Scenario, port: int) -> socket.socket:
    """A connection to the proxy, with TLS where the scenario has it. The certificate is this run's own."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
    return tls_context().wrap_socket(connection, server_hostname="localhost") if scenario.tls else connection


def tls_context() -> ssl.SSLContext:
    """TLS 1.3 to a server whose certificate nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def check_answer(scenario: Scenario, port: int) -> int:
    """Sends a scenario's request twice on one connection (once where it is to be closed), compares the answers with
    what the origin sends, and returns what the load generator will count for one of them, in bytes: h2load counts the
    bodies alone."""
    if scenario.http2:
        return check_http2(scenario, port)
    try:
        with connect(scenario, port) as connection:
            for _ in range(1 if scenario.close else 2):
                connection.sendall(request_bytes(scenario, port))
                status, body, head_bytes = read_answer(connection)
                if status != 200 or body != scenario.expected_body():
                    raise wrong(scenario, status, body)
            if scenario.close and connection.recv(1) != b"":
                raise WrongAnswer("the connection goes on after `Connection: close`")
    except OSError as failure:
        raise WrongAnswer(f"{scenario.method} {scenario.path}: {failure}") from None
    return len(body) if scenario.by_h2load else head_bytes + len(body)


def check_http2(scenario: Scenario, port: int) -> int:
    """The same by curl, which speaks HTTP/2, on two connections."""
    body = scenario.expected_body()
    for _ in range(2):
        received, head = ask_curl(scenario, port)
        statuses = re.findall(r"^HTTP/2 (\d+)", head, re.MULTILINE)
        if statuses != ["200"] or received != body:
            raise wrong(scenario, "/".join(statuses) or "none", received)
        if scenario.grpc:
            check_call(scenario, port)
    return len(body)


def ask_curl(scenario: Scenario, port: int) -> tuple[bytes, str]:
    """(body, head and trailers) of a scenario's answer over HTTP/2."""
    scheme = "https" if scenario.tls else "http"
    with tempfile.TemporaryDirectory(prefix="palantir-compare-") as folder:
        sent, head = Path(folder, "sent"), Path(folder, "head")
        sent.write_bytes(scenario.request_body())
        argv = [found("curl"), "-s", "-k", "--max-time", str(ANSWER_SECONDS), "-D", str(head),
                "--http2" if scenario.tls else "--http2-prior-knowledge"]
        if scenario.method != "GET":
            argv += ["-X", scenario.method, "--data-binary", f"@{sent}"]
        for name, value in fields(scenario).items():
            argv += ["-H", f"{name}: {value}"]
        done = subprocess.run([*argv, f"{scheme}://127.0.0.1:{port}{scenario.path}"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=2 * ANSWER_SECONDS, check=False)
        return done.stdout, head.read_text(errors="replace") if head.exists() else ""


def check_call(scenario: Scenario, port: int) -> None:
    """The trailers of a gRPC call, which curl does not show and nghttp does."""
    with tempfile.NamedTemporaryFile(prefix="palantir-compare-") as sent:
        Path(sent.name).write_bytes(scenario.request_body())
        argv = [found("nghttp"), "-v", "-n", "-t", str(ANSWER_SECONDS), "-d", sent.name]
        for name, value in {":method": scenario.method, **fields(scenario)}.items():
            argv += ["-H", f"{name}: {value}"]
        done = subprocess.run([*argv, f"http://127.0.0.1:{port}{scenario.path}"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=2 * ANSWER_SECONDS, check=False)
    if b"recv (stream_id=13) grpc-status: 0" not in done.stdout:
        raise WrongAnswer("the trailers with the status of the call are missing")


def fields(scenario: Scenario) -> dict[str, str]:
    """What a request's head has besides the usual."""
    return {"content-type": "application/grpc", "te": "trailers"} if scenario.grpc else {}


def wrong(scenario: Scenario, status: int | str, body: bytes) -> WrongAnswer:
    """What came instead of the origin's answer."""
    return WrongAnswer(f"{scenario.method} {scenario.path}: status {status}, {len(body)} bytes that begin with "
                       f"{body[:60]!r}")


def count_failures(scenario: Scenario, port: int, count: int, seconds: float) -> tuple[int, int]:
    """Makes so many requests, one after the other, or as many as can be made in so many seconds: (requests, those that were
    not answered as the origin does)."""
    made, failed, connection = 0, 0, None
    deadline = time.monotonic() + seconds
    while made < count and time.monotonic() < deadline:
        made += 1
        try:
            connection = connection or connect(scenario, port)
            connection.sendall(request_bytes(scenario, port, made))
            status, body, _ = read_answer(connection)
            failed += status != 200 or body != scenario.expected_body()
        except (OSError, WrongAnswer):
            failed += 1
            if connection:
                connection.close()
            connection = None
    if connection:
        connection.close()
    return made, failed


def origin_requests(port: int) -> int:
    """How many requests the origin has answered since it started, from its `stub_status` page."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(b"GET /origin-status HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
        _, body, _ = read_answer(connection)
    return int(body.decode().splitlines()[2].split()[2])


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
            connection = connect(self.scenario, self.port)
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
                connection.recv(1)
            except (BlockingIOError, ssl.SSLWantReadError):
                connection.settimeout(ANSWER_SECONDS)
                continue
            raise WrongAnswer("an idle connection was closed, or received bytes that nobody asked for")
        for connection in self.open[::100]:
            self.exchange(connection)

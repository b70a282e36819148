"""What is measured: the list of scenarios, their load, and the targets that palantir is held to."""

from dataclasses import dataclass

KIB = 1024
SMALL_BODY = "x" * 100
POST_BYTES = 10 * KIB
IDLE_CONNECTIONS = 10_000

#: Files that the origin serves: path to bytes.
FILE_BYTES = {"/10k": 10 * KIB, "/100k": 100 * KIB, "/1m": 1024 * KIB}


@dataclass(frozen=True)
class Scenario:
    """One kind of load, and the most that palantir may cost in it.

    `kind` is `load` (wrk against one worker), `cores` (the same with one worker, then two) or `idle` (memory of idle
    connections). Targets are ratios of CPU per request, except `target_kib` (KiB per idle connection) and
    `target_growth` (two workers against one); None where none is set.
    """

    name: str
    title: str
    kind: str = "load"
    path: str = "/small"
    connections: int = 64
    method: str = "GET"
    body_bytes: int = 0
    close: bool = False
    target_nginx: float | None = None
    target_haproxy: float | None = None
    target_kib: float | None = None
    target_growth: float | None = None

    def expected_body(self) -> bytes:
        """The body that the origin sends and that must arrive unchanged."""
        if self.path == "/small":
            return SMALL_BODY.encode()
        if self.path == "/post":
            return f"received {self.body_bytes} bytes\n".encode()
        return file_body(self.path)


def file_body(path: str) -> bytes:
    """The content of one of the origin's files: numbered lines, so that a swapped or lost piece is noticed."""
    length = FILE_BYTES[path]
    lines = (f"{path} line {number}\n" for number in range(length // 8))
    return "".join(lines).encode()[:length]


SCENARIOS = [
    Scenario("small-64", "small GET, 64 connections", target_nginx=0.75),
    Scenario("small-512", "small GET, 512 connections", connections=512, target_nginx=0.60),
    Scenario("get-10k", "10 KiB response", path="/10k", target_nginx=0.95, target_haproxy=0.80),
    Scenario("get-100k", "100 KiB response", path="/100k", target_nginx=0.95, target_haproxy=0.80),
    Scenario("get-1m", "1 MiB response", path="/1m", connections=16, target_nginx=0.95, target_haproxy=0.80),
    Scenario("post-10k", "10 KiB POST", path="/post", method="POST", body_bytes=POST_BYTES, target_nginx=0.90),
    Scenario("connect", "new connection per request", close=True, target_nginx=0.90),
    Scenario("cores", "one and two workers, small GET", kind="cores", target_growth=1.05),
    Scenario("idle", "idle keep-alive connections", kind="idle", connections=IDLE_CONNECTIONS, target_kib=2.0),
]

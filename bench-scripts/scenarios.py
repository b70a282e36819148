"""What is measured: the list of scenarios, their load, and the targets that palantir is held to."""

from dataclasses import dataclass, field

KIB = 1024
SMALL_BODY = "x" * 100
POST_BYTES = 10 * KIB
IDLE_CONNECTIONS = 10_000
#: A file of the sink, with the small body.
SINK_PATH = "/sink"
UPLOAD_BYTES = 32 * KIB * KIB
#: Requests of each method that are made while a backend refuses connections.
REFUSED_REQUESTS = 400
#: The longest that they may take: who tries the same backend again and again, a second apart, is not waited for.
REFUSED_SECONDS = 15

#: Files that the origin serves: path to bytes.
FILE_BYTES = {"/1k": KIB, "/10k": 10 * KIB, "/100k": 100 * KIB, "/1m": 1024 * KIB}
#: Behind this prefix the same files may be cached.
CACHED = "/cached"


#: A unary gRPC message: not compressed, five bytes, in which field 1 is the text "abc".
GRPC_MESSAGE = b"\x00\x00\x00\x00\x05\x0a\x03abc"
GRPC_PATH = "/palantir.Bench/Unary"

CLASSIC = ("palantir", "nginx", "haproxy")
EVERYBODY = (*CLASSIC, "envoy")
CACHES = ("palantir", "nginx", "varnish")


@dataclass(frozen=True)
class Company:
    """Requests that are made as fast as they are answered, on connections of their own beside the measured ones."""

    path: str
    connections: int
    method: str = "GET"
    body_bytes: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether the server is asked that takes its time."""
        return self.path.startswith("/slow")


@dataclass(frozen=True)
class Behind:
    """What stands behind a proxy: `origins` addresses of the origin, behind `refusing` ones at which nobody listens,
    chosen by `algorithm` (of palantir's; empty: the default), a pool of `slow` servers for `/slow`, each of which may
    have one connection, and an origin for `/1m` alone (`bulk`), so that what waits for small answers waits for no large
    ones there. A `sink` is in the origin's place: nghttpd, which takes bodies faster than nginx and to their end before
    it answers."""

    origins: int = 1
    refusing: int = 0
    algorithm: str = ""
    slow: int = 0
    bulk: bool = False
    sink: bool = False


@dataclass(frozen=True)
class Caching:
    """The proxies cache. palantir and Varnish need no more to be told; nginx has a setting for `sendfile`, which it is
    better off without where answers are small, and one for a `lock` that lets one request of a key go on alone."""

    sendfile: bool = False
    lock: bool = False


@dataclass(frozen=True)
class Scenario:
    """One kind of load, and the most that palantir may cost in it.

    `kind` is `load` (requests against one worker), `handshakes` (TLS connections that are closed when they are there),
    `floods` (few requests a second beside an attack, a `flood` of `floods.py`), `mixed` (requests beside a `company` of
    slow ones, on the same pool), `beside` (few requests a second beside a `company`), `refused` (requests while a
    backend refuses connections), `collapse` (requests for one URL that nobody has yet, all at once), `cores` (requests
    against one worker, then two) or `idle` (memory of idle connections). `client` and `backend` are what is spoken on
    either side: `http`, `https` (both HTTP/1.1), `h2c` (HTTP/2 by prior knowledge) or `h2` (over TLS).
    `targets` are ratios of CPU per request by proxy; `target_p50_ms` and `target_p99_ms` are those of the few requests,
    `target_p99` a ratio to nginx's 99th percentile, `target_p99_of` one to that of another scenario of the same proxy,
    `target_company` the company's requests per second against HAProxy's, at least, `target_kib` is KiB per idle
    connection, `target_growth` two workers against one, `target_of` CPU per request against another scenario of
    palantir's. None where none is set.
    """

    name: str
    title: str
    kind: str = "load"
    path: str = "/small"
    connections: int = 64
    method: str = "GET"
    body_bytes: int = 0
    close: bool = False
    client: str = "http"
    backend: str = "http"
    #: Requests under way on each HTTP/2 connection.
    streams: int = 1
    #: What runs beside the load.
    flood: str = ""
    company: Company | None = None
    #: Requests per second on each connection of the load; 0: as fast as they are answered.
    rate: int = 0
    behind: Behind = Behind()
    caching: Caching | None = None
    #: Whether every request is for a URL that nobody asked for before.
    new_urls: bool = False
    #: Whether handshakes resume an earlier connection.
    resumed: bool = False
    proxies: tuple[str, ...] = CLASSIC
    targets: dict[str, float] = field(default_factory=dict)
    target_p50_ms: float | None = None
    target_p99_ms: float | None = None
    target_p99: float | None = None
    target_p99_of: tuple[str, float] | None = None
    target_company: float | None = None
    target_kib: float | None = None
    target_growth: float | None = None
    target_of: tuple[str, float] | None = None

    @property
    def tls(self) -> bool:
        """Whether clients come with TLS."""
        return self.client in ("https", "h2")

    @property
    def http2(self) -> bool:
        """Whether clients speak HTTP/2."""
        return self.client in ("h2", "h2c")

    @property
    def hits(self) -> bool:
        """Whether a cache answers every request of the load."""
        return self.caching is not None and not self.new_urls

    @property
    def by_h2load(self) -> bool:
        """Whether h2load makes the requests: wrk knows neither HTTP/2 nor a rate."""
        return self.http2 or self.rate > 0

    @property
    def grpc(self) -> bool:
        """Whether requests are unary gRPC calls."""
        return self.path == GRPC_PATH

    def request_body(self) -> bytes:
        """The body of the request."""
        return GRPC_MESSAGE if self.grpc else b"p" * self.body_bytes

    def expected_body(self) -> bytes:
        """The body that the origin sends and that must arrive unchanged."""
        if self.path in ("/small", SINK_PATH):
            return SMALL_BODY.encode()
        if self.path == "/post":
            return f"received {self.body_bytes} bytes\n".encode()
        if self.grpc:
            return GRPC_MESSAGE
        return file_body(self.path)


def file_body(path: str) -> bytes:
    """The content of one of the origin's files: numbered lines, so that a swapped or lost piece is noticed."""
    path = path.partition("?")[0].removeprefix(CACHED)
    length = FILE_BYTES[path]
    lines = (f"{path} line {number}\n" for number in range(length // 8))
    return "".join(lines).encode()[:length]


def beside(name: str, title: str, **others) -> Scenario:
    """A scenario of few requests a second, 200 over 4 connections."""
    return Scenario(name, title, kind="beside", connections=4, rate=50, **others)


SCENARIOS = [
    Scenario("small-64", "small GET, 64 connections", targets={"nginx": 0.75}),
    Scenario("small-512", "small GET, 512 connections", connections=512, targets={"nginx": 0.60}),
    Scenario("get-10k", "10 KiB response", path="/10k", targets={"nginx": 0.95, "haproxy": 0.80}),
    Scenario("get-100k", "100 KiB response", path="/100k", targets={"nginx": 0.95, "haproxy": 0.80}),
    Scenario("get-1m", "1 MiB response", path="/1m", connections=16, targets={"nginx": 0.95, "haproxy": 0.80}),
    Scenario("post-10k", "10 KiB POST", path="/post", method="POST", body_bytes=POST_BYTES, targets={"nginx": 0.90}),
    Scenario("connect", "new connection per request", close=True, targets={"nginx": 0.90}),
    Scenario("tls-small", "small GET over TLS", client="https", targets={"nginx": 0.80}),
    Scenario("tls-1m", "1 MiB response over TLS", client="https", path="/1m", connections=16, targets={"nginx": 1.00}),
    Scenario("tls-full", "full TLS handshake", kind="handshakes", client="https", connections=4,
             targets={"nginx": 1.00}),
    Scenario("tls-resumed", "resumed TLS handshake", kind="handshakes", client="https", connections=4, resumed=True,
             targets={"nginx": 0.91}),
    Scenario("h2-small", "small GET, HTTP/2", client="h2c", connections=16, streams=32, proxies=EVERYBODY,
             targets={"nginx": 0.35, "haproxy": 0.60, "envoy": 0.30}),
    Scenario("h2-tls", "small GET, HTTP/2 over TLS", client="h2", connections=16, streams=32, proxies=EVERYBODY,
             targets={"nginx": 0.35, "haproxy": 0.60, "envoy": 0.30}),
    # nginx does not speak HTTP/2 to a backend except for gRPC, and there not without fault: a window update of the
    # origin's that comes late fails the next call ("frame for unknown stream").
    Scenario("h2-h2c", "small GET, HTTP/2 on both sides", client="h2c", backend="h2c", connections=16, streams=32,
             proxies=("palantir", "haproxy", "envoy"), target_of=("h2-small", 0.70)),
    Scenario("grpc", "unary gRPC, 64 streams", client="h2c", backend="h2c", path=GRPC_PATH, method="POST",
             connections=1, streams=64, proxies=("palantir", "haproxy", "envoy"), targets={"envoy": 0.30}),
    *(Scenario(f"flood-{name}", f"beside {title}", kind="floods", client="h2c", connections=4, flood=flood, rate=50,
               proxies=EVERYBODY, target_p99_ms=5.0)
      for name, title, flood in (("none", "nothing", ""), ("reset", "rapid resets", "rapid_reset"),
                                 ("continuation", "CONTINUATION without end", "continuation"), ("ping", "PINGs", "ping"))),
    *(Scenario(f"mixed-{slow}", f"small GET beside requests of {slow} ms", kind="mixed", connections=32,
               company=Company(f"/slow?ms={slow}", 64), target_p99=1.10) for slow in (20, 300)),
    # nginx has no queue for the requests that go beyond `max_conns`: it answers them 502.
    beside("full-pool", "1,000 clients at a pool of 200 connections to servers of 20 ms",
           proxies=("palantir", "haproxy"), company=Company("/slow?ms=20", 1000), behind=Behind(slow=200),
           target_p50_ms=0.5, target_company=0.95),
    *(beside(f"bulk-{count}", f"{count} downloads of 1 MiB each, again and again", company=Company("/1m", count),
             behind=Behind(bulk=True), target_p50_ms=6.0, target_p99_ms=30.0) for count in (20, 100)),
    *(beside(name, title, path=SINK_PATH, behind=Behind(sink=True), method="POST", body_bytes=10, backend="h2c",
             proxies=("palantir", "haproxy"), company=company, target_p99_of=target)
      for name, title, company, target in (
          ("h2-upload-none", "nothing (a POST to an HTTP/2 backend)", None, None),
          ("h2-upload", "an upload without end to the same HTTP/2 backend", Company(SINK_PATH, 1, "PUT", UPLOAD_BYTES),
           ("h2-upload-none", 2.0)))),
    *(Scenario(f"refused-{count}", f"one of {count} backends refuses connections", kind="refused",
               behind=Behind(origins=count - 1, refusing=1)) for count in (2, 3)),
    Scenario("hit-1k", "hit of 1 KiB", path="/cached/1k", caching=Caching(), proxies=CACHES),
    Scenario("hit-1k-h2", "hit of 1 KiB, HTTP/2", client="h2c", path="/cached/1k", connections=16, streams=32,
             caching=Caching(), proxies=CACHES),
    Scenario("hit-100k", "hit of 100 KiB", path="/cached/100k", caching=Caching(sendfile=True), proxies=CACHES),
    Scenario("miss-none", "new URL of 1 KiB, no cache", path="/cached/1k", new_urls=True,
             proxies=("palantir", "nginx")),
    Scenario("miss-stored", "new URL of 1 KiB, stored", path="/cached/1k", new_urls=True, caching=Caching(),
             proxies=CACHES, target_of=("miss-none", 1.10)),
    Scenario("collapse", "1,000 requests at once for a new URL", kind="collapse", connections=1_000,
             caching=Caching(lock=True), proxies=CACHES),
    Scenario("cores", "one and two workers, small GET", kind="cores", target_growth=1.05),
    Scenario("idle", "idle keep-alive connections", kind="idle", connections=IDLE_CONNECTIONS, target_kib=2.0),
    Scenario("idle-tls", "idle keep-alive connections with TLS", kind="idle", client="https", connections=2_000,
             target_kib=12.0),
]

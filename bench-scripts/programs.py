"""The programs of a run: the origin and the proxies, each with its configuration from `configs/`."""

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Running, Unusable, free_ports
from scenarios import (CACHED, FILE_BYTES, Behind, Caching, GRPC_MESSAGE, GRPC_PATH, IDLE_CONNECTIONS, SINK_PATH,
                       SMALL_BODY, file_body)

SCRIPTS = Path(__file__).resolve().parent
REPOSITORY = SCRIPTS.parent

#: Connections that a proxy must be able to hold from clients; the idle scenario needs the most.
MAX_CONNECTIONS = IDLE_CONNECTIONS + 2_000
#: Descriptors that a proxy needs for those, its few connections to the origin, and itself.
DESCRIPTORS = MAX_CONNECTIONS + 1_000

CONFIGS = {"palantir": "palantir.toml", "nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml",
           "varnish": "varnish.vcl", "origin": "origin.conf", "bulk": "origin.conf"}
PROXIES = ["palantir", "nginx", "haproxy", "envoy", "varnish"]
#: What a cache may hold: more than a round stores.
CACHE_SIZE = "1G"
#: Where Envoy is looked for besides the PATH: it is in no Debian, but PyPI has it for virtual environments.
ENVOY_HOME = REPOSITORY / "target" / "envoy"


@dataclass(frozen=True)
class Site:
    """Where the programs of this run live: the folder for their files, and their ports on loopback."""

    folder: Path
    origin_port: int
    #: The same origin over HTTP/2 by prior knowledge.
    origin_h2c_port: int
    proxy_port: int
    #: The server behind the origin that takes as long for an answer as it is told to.
    slow_port: int
    #: Nobody listens here.
    refusing_port: int
    #: The origin for large answers alone.
    bulk_port: int
    bulk_h2c_port: int
    sink_port: int
    palantir: Path

    def start(self, program: str, cpus: list[int], workers: int = 1, under: tuple[str, ...] = (),
              client: str = "http", backend: str = "http", behind: Behind = Behind(),
              caching: Caching | None = None) -> Running:
        """Starts the origin or a proxy on `cpus`, `under` another command if one is given, and returns once it
        accepts connections. `client` and `backend` are what it speaks, `behind` whom it speaks to, `caching` whether
        it caches; see `Scenario`. A cache is empty at first."""
        ports = {"origin": self.origin_port, "slow": self.slow_port, "bulk": self.bulk_port,
                 "sink": self.sink_port}
        shutil.rmtree(self.folder / "nginx-cache", ignore_errors=True)
        config = self.folder
        if program not in ("slow", "sink"):
            config = self.write_config(program, workers, client, backend, behind, caching)
        running = Running([*under, *self.command(program, config, workers, client)], cpus,
                          self.folder / f"{program}.log", aside=program == "bulk")
        try:
            running.wait_until_listening(ports.get(program, self.proxy_port))
        except BaseException:
            running.stop()
            raise
        return running

    def command(self, program: str, config: Path, workers: int, client: str) -> list[str]:
        """The command line that keeps `program` in the foreground with this configuration."""
        if program == "palantir":
            return [str(self.palantir), "--config", str(config)]
        if program == "slow":
            # At every address of loopback, so that it can be many backends.
            return [str(self.palantir), "test-server", "--listen", f"0.0.0.0:{self.slow_port}"]
        if program == "sink":
            files = str(self.folder / "files")
            return [found("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", files, str(self.sink_port)]
        if program == "haproxy":
            return [found("haproxy"), "-db", "-q", "-f", str(config)]
        if program == "varnish":
            # As with nginx, the user that the package would have it change to cannot read the folder of this run.
            http2 = ["-p", "feature=+http2"] if client == "h2c" else []
            return [found("varnishd"), "-F", "-j", "none", "-n", str(self.folder / "varnish"), "-f", str(config),
                    "-a", f"127.0.0.1:{self.proxy_port}", "-s", f"malloc,{CACHE_SIZE}", *http2]
        if program == "envoy":
            return [str(envoy()), "-c", str(config), "--concurrency", str(workers), "--disable-hot-restart",
                    "--log-level", "error"]
        return [found("nginx"), "-c", str(config), "-p", str(self.folder), "-e", "stderr"]

    def write_config(self, program: str, workers: int, client: str, backend: str, behind: Behind,
                     caching: Caching | None) -> Path:
        """Fills in the program's template and returns where it was written."""
        tls, http2 = client in ("https", "h2"), client in ("h2c", "h2")
        values = {
            # nginx's workers leave root for `nobody`, who cannot read the folder of this run.
            "USER": "user root;" if os.geteuid() == 0 else "",
            **servers(program, behind),
            **clauses(program, tls, http2, backend == "h2c"),
            **cache_clauses(program, caching),
            "CACHED": CACHED,
            "FOLDER": self.folder,
            "WORKERS": workers,
            "ORIGIN_PORT": self.origin_port_for(program, backend, behind),
            "ORIGIN_H2C_PORT": self.bulk_h2c_port if program == "bulk" else self.origin_h2c_port,
            "BULK_PORT": self.bulk_port,
            "NAME": program,
            "PROXY_PORT": self.proxy_port,
            "SLOW_PORT": self.slow_port,
            "REFUSING_PORT": self.refusing_port,
            "MAX_CONNECTIONS": MAX_CONNECTIONS,
            "NOFILE": DESCRIPTORS,
            "SMALL_BODY": SMALL_BODY,
            "GRPC_PATH": GRPC_PATH,
        }
        text = (SCRIPTS / "configs" / CONFIGS[program]).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        config = self.folder / f"{program}-{CONFIGS[program]}"
        config.write_text(text)
        return config

    def origin_port_for(self, program: str, backend: str, behind: Behind) -> int:
        """Where an origin listens, or a proxy finds the one that speaks `backend`."""
        if program == "bulk":
            return self.bulk_port
        if behind.sink:
            return self.sink_port
        return self.origin_h2c_port if backend == "h2c" and program != "origin" else self.origin_port


def clauses(program: str, tls: bool, http2: bool, h2c_backend: bool) -> dict[str, str]:
    """What a template says of listening and of the backend: everybody the same, in their own words. Certificate, TLS 1.3
    alone, and tickets are the same for all."""
    if program == "palantir":
        listener = '[[listeners]]\naddr = "127.0.0.1:@PROXY_PORT@"\ntls = { min_version = "1.3", certificates = ' \
                   '[{ cert = "@FOLDER@/cert.pem", key = "@FOLDER@/key.pem" }] }'
        return {"LISTEN_ADDR": "" if tls else 'listen_addr = "127.0.0.1:@PROXY_PORT@"',
                "LISTENER": listener if tls else "",
                "PROTOCOL": 'protocol = "h2"' if h2c_backend else ""}
    if program == "nginx":
        return {"LISTEN": " ssl" * tls + " http2" * http2}
    if program == "haproxy":
        alpn = "h2" if http2 else "http/1.1"
        # h2load takes no answer that has no word behind its status, and those of HTTP/2 have none.
        reason = "http-response set-status 200 reason OK if { status 200 }"
        return {"LISTEN": f"ssl crt @FOLDER@/both.pem alpn {alpn} ssl-min-ver TLSv1.3" if tls
                          else "proto h2" if http2 else "",
                "PROTOCOL": "proto h2" if h2c_backend else "",
                "REASON": reason if h2c_backend and not http2 else ""}
    if program == "envoy":
        return {"TLS": ENVOY_TLS if tls else "", "ALPN": "h2" if http2 else "http/1.1",
                "PROTOCOL": "http2_protocol_options: {}" if h2c_backend else "http_protocol_options: {}"}
    return {}


def cache_clauses(program: str, caching: Caching | None) -> dict[str, str]:
    """What a template says of a cache. nginx has what its documentation advises: files in memory-backed storage that
    are put there under their last name and stay open, and room for the keys of all that a round stores."""
    if program == "palantir":
        return {"CACHE": f'[cache]\nmax_size = "{CACHE_SIZE}iB"' if caching else "",
                "CACHED_ROUTE": "cache = {}" * bool(caching)}
    if program == "nginx" and caching:
        switch = {True: "on", False: "off"}
        return {"CACHE": "proxy_cache_path @FOLDER@/nginx-cache levels=1:2 keys_zone=cache:128m use_temp_path=off "
                         f"max_size={CACHE_SIZE.lower()} inactive=1h;\n    open_file_cache max=1000 inactive=10m;\n"
                         "    open_file_cache_valid 10m;",
                "CACHED_LOCATION": f"proxy_cache cache;\n        proxy_cache_lock {switch[caching.lock]};\n"
                                   f"        sendfile {switch[caching.sendfile]};\n"
                                   "        add_header X-Cache $upstream_cache_status;"}
    return {"CACHE": "", "CACHED_LOCATION": ""}


def servers(program: str, behind: Behind) -> dict[str, str]:
    """What a template says of the backends and of the ways to them. Those of the slow pool may have one connection
    each; nginx has no such pool, because it does not let requests wait for one."""
    addrs = ["127.0.0.1:@REFUSING_PORT@"] * behind.refusing
    addrs += [f"127.0.0.{number + 1}:@ORIGIN_PORT@" for number in range(behind.origins)]
    slow = [f"127.0.1.{number + 1}:@SLOW_PORT@" for number in range(behind.slow)]
    if program == "palantir":
        bounded = ", ".join(f'{{ addr = "{addr}", max_connections = 1 }}' for addr in slow)
        more = [pool_of_palantir("/slow", bounded)] * bool(slow)
        more += [pool_of_palantir("/1m", '"127.0.0.1:@BULK_PORT@"')] * behind.bulk
        algorithm = f'balancing_algorithm = "{behind.algorithm}"' if behind.algorithm else ""
        key = '\nhash_on = "header:x-number"' if behind.algorithm == "consistent_hash" else ""
        return {"BACKENDS": ", ".join(f'"{addr}"' for addr in addrs), "ALGORITHM": algorithm + key,
                "MORE": "\n".join(more)}
    if program == "haproxy":
        more = ["backend slow", *(f"    server slow{number} {addr} maxconn 1" for number, addr in enumerate(slow))]
        more = more * bool(slow) + ["backend bulk", "    server bulk 127.0.0.1:@BULK_PORT@"] * behind.bulk
        ways = ["use_backend slow if { path_beg /slow }"] * bool(slow)
        ways += ["use_backend bulk if { path /1m }"] * behind.bulk
        ours = [f"    server origin{number} {addr} @PROTOCOL@" for number, addr in enumerate(addrs)]
        return {"SERVERS": "\n".join(ours),
                "WAYS": "\n".join(ways), "MORE": "\n".join(more)}
    if program == "nginx":
        return {"SERVERS": "\n".join(f"        server {addr};" for addr in addrs),
                "WAYS": "location = /1m { proxy_pass http://bulk; }" if behind.bulk else ""}
    return {}


def pool_of_palantir(prefix: str, backends: str) -> str:
    """A pool for the paths behind a prefix."""
    name = prefix.lstrip("/")
    return (f'[[pools]]\nname = "{name}"\nbackends = [{backends}]\n\n'
            f'[[routes]]\nprefix = "{prefix}"\npool = "{name}"\nhost_header = "preserve"\n')


ENVOY_TLS = """\
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [@ALPN@]
            tls_params: { tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }
            tls_certificates:
            - { certificate_chain: { filename: @FOLDER@/cert.pem }, private_key: { filename: @FOLDER@/key.pem } }
"""


@contextmanager
def temporary_site(palantir: Path) -> Iterator[Site]:
    """A site in memory-backed storage with the origin's files, removed at the end."""
    raise_descriptor_limit()
    folder = Path(tempfile.mkdtemp(prefix="palantir-compare-", dir="/dev/shm"))
    try:
        ports = free_ports(8)
        files = folder / "files"
        files.mkdir()
        for path in FILE_BYTES:
            (files / path.lstrip("/")).write_bytes(file_body(path))
        (files / "grpc-answer").write_bytes(GRPC_MESSAGE)
        (files / SINK_PATH.lstrip("/")).write_text(SMALL_BODY)
        make_certificate(folder)
        yield Site(folder, *ports, palantir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_certificate(folder: Path) -> None:
    """A key (ECDSA P-256) and its certificate, signed by itself: cert.pem, key.pem, and both.pem for HAProxy."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    argv = [found("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-out", str(cert), "-keyout", str(key)]
    made = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if made.returncode != 0:
        raise Unusable(f"openssl made no certificate: {made.stdout.decode(errors='replace').strip()[-300:]}")
    (folder / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())


def envoy() -> Path | None:
    """Where Envoy is, if it is here."""
    on_path = shutil.which("envoy")
    wheels = sorted(ENVOY_HOME.glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    return Path(on_path) if on_path else next(iter(wheels), None)


def found(program: str) -> str:
    """The full path of an installed program; Debian keeps servers where a user's PATH does not look."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Unusable(f"{program} is not installed: apt-get install nginx haproxy varnish wrk nghttp2-client "
                       "nghttp2-server curl openssl util-linux")
    return path


def is_installed(program: str) -> bool:
    """Whether a program is here."""
    try:
        return bool(found(program))
    except Unusable:
        return False


def raise_descriptor_limit() -> None:
    """Lets this process and all that it starts open enough connections for the idle scenario."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        # The same for everybody, whatever this machine allows: palantir sizes itself by it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, max(hard, DESCRIPTORS)))
    except (ValueError, OSError) as refused:
        raise Unusable(f"{DESCRIPTORS} descriptors are needed and the limit is {hard}: "
                       f"raise it with `ulimit -n` as root ({refused})") from None


def build_palantir() -> Path:
    """Builds palantir as it is meant to be run and returns its path."""
    try:
        subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise Unusable(f"palantir was not built: {failure}") from None
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "palantir"


def versions(proxies: list[str], palantir: Path) -> dict[str, str]:
    """The versions of what was compared and of what loaded it."""
    asked = {"palantir": [str(palantir), "--version"]} if "palantir" in proxies else {}
    asked |= {name: [found(name), "-v"] for name in ("nginx", "haproxy", "wrk") if name in proxies or name != "haproxy"}
    asked["h2load"] = [found("h2load"), "--version"]
    if "varnish" in proxies:
        asked["varnish"] = [found("varnishd"), "-V"]
    if "envoy" in proxies:
        asked["envoy"] = [str(envoy()), "--version"]
    known = {}
    for name, argv in asked.items():
        try:
            # wrk says its version and exits with an error.
            said = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
        except OSError as failure:
            raise Unusable(f"{name} does not run: {failure}") from None
        # Envoy says where it is before it says what it is.
        number = re.search(rb"\d+(\.\d+)+[^\s/]*", said.stdout.rpartition(b"version:")[2])
        known[name] = number.group().decode() if number else "of an unknown version"
    return known

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
from scenarios import FILE_BYTES, IDLE_CONNECTIONS, SMALL_BODY, file_body

SCRIPTS = Path(__file__).resolve().parent
REPOSITORY = SCRIPTS.parent

#: Connections that a proxy must be able to hold from clients; the idle scenario needs the most.
MAX_CONNECTIONS = IDLE_CONNECTIONS + 2_000
#: Descriptors that a proxy needs for those, its few connections to the origin, and itself.
DESCRIPTORS = MAX_CONNECTIONS + 1_000

CONFIGS = {"palantir": "palantir.toml", "nginx": "nginx.conf", "haproxy": "haproxy.cfg", "origin": "origin.conf"}
PROXIES = ["palantir", "nginx", "haproxy"]


@dataclass(frozen=True)
class Site:
    """Where the programs of this run live: the folder for their files, and their ports on loopback."""

    folder: Path
    origin_port: int
    proxy_port: int
    palantir: Path

    def start(self, program: str, cpus: list[int], workers: int = 1, under: tuple[str, ...] = ()) -> Running:
        """Starts the origin or a proxy on `cpus`, `under` another command if one is given, and returns once it
        accepts connections."""
        config = self.write_config(program, workers)
        running = Running([*under, *self.command(program, config)], cpus, self.folder / f"{program}.log")
        try:
            running.wait_until_listening(self.origin_port if program == "origin" else self.proxy_port)
        except BaseException:
            running.stop()
            raise
        return running

    def command(self, program: str, config: Path) -> list[str]:
        """The command line that keeps `program` in the foreground with this configuration."""
        if program == "palantir":
            return [str(self.palantir), "--config", str(config)]
        if program == "haproxy":
            return [found("haproxy"), "-db", "-q", "-f", str(config)]
        return [found("nginx"), "-c", str(config), "-p", str(self.folder), "-e", "stderr"]

    def write_config(self, program: str, workers: int) -> Path:
        """Fills in the program's template and returns where it was written."""
        values = {
            # nginx's workers leave root for `nobody`, who cannot read the folder of this run.
            "USER": "user root;" if os.geteuid() == 0 else "",
            "FOLDER": self.folder,
            "WORKERS": workers,
            "ORIGIN_PORT": self.origin_port,
            "PROXY_PORT": self.proxy_port,
            "MAX_CONNECTIONS": MAX_CONNECTIONS,
            "NOFILE": DESCRIPTORS,
            "SMALL_BODY": SMALL_BODY,
        }
        text = (SCRIPTS / "configs" / CONFIGS[program]).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        config = self.folder / CONFIGS[program]
        config.write_text(text)
        return config


@contextmanager
def temporary_site(palantir: Path) -> Iterator[Site]:
    """A site in memory-backed storage with the origin's files, removed at the end."""
    raise_descriptor_limit()
    folder = Path(tempfile.mkdtemp(prefix="palantir-compare-", dir="/dev/shm"))
    try:
        origin_port, proxy_port = free_ports(2)
        files = folder / "files"
        files.mkdir()
        for path in FILE_BYTES:
            (files / path.lstrip("/")).write_bytes(file_body(path))
        yield Site(folder, origin_port, proxy_port, palantir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def found(program: str) -> str:
    """The full path of an installed program; Debian keeps servers where a user's PATH does not look."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Unusable(f"{program} is not installed: apt-get install nginx haproxy wrk util-linux")
    return path


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
        subprocess.run(["cargo", "build", "--release", "--features", "fast"], cwd=REPOSITORY, check=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise Unusable(f"palantir was not built: {failure}") from None
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "palantir"


def versions(proxies: list[str], palantir: Path) -> dict[str, str]:
    """The versions of what was compared and of what loaded it."""
    asked = {"palantir": [str(palantir), "--version"]} if "palantir" in proxies else {}
    asked |= {name: [found(name), "-v"] for name in ("nginx", "haproxy", "wrk") if name in proxies or name != "haproxy"}
    known = {}
    for name, argv in asked.items():
        try:
            # wrk says its version and exits with an error.
            said = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10, check=False)
        except OSError as failure:
            raise Unusable(f"{name} does not run: {failure}") from None
        number = re.search(rb"\d+(\.\d+)+[^\s]*", said.stdout)
        known[name] = number.group().decode() if number else "of an unknown version"
    return known

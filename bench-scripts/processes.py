"""Processes of a run: started on given CPUs, read through /proc, and always stopped by their own id."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

#: Generous: a proxy under valgrind takes seconds to start, and to write its profile at the end.
START_SECONDS = 20
STOP_SECONDS = 20
CPUCLOCK_SCHED = 2
LOWEST_PRIORITY = 19


class Unusable(Exception):
    """The run cannot go on: a program is missing, does not start, or the machine does not allow it."""


class Running:
    """A program of several processes or threads that runs on `cpus`, `aside` when others need them. Its output goes to
    `log`."""

    def __init__(self, argv: list[str], cpus: list[int], log: Path, aside: bool = False):
        self.name = Path(argv[0]).name
        self.log = log
        pinned = ["taskset", "-c", ",".join(map(str, cpus)), *argv]
        with log.open("wb") as output:
            # Its own session, so that a Ctrl-C reaches us alone and we stop everything in order.
            self.child = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          start_new_session=True)
        if aside:
            step_aside(self.child.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_listening(self, port: int) -> None:
        """Returns once `port` on loopback accepts; raises Unusable with the program's last words otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Unusable(f"{self.name} does not listen on port {port}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what the program printed."""
        return self.log.read_text(errors="replace").strip()[-600:] or "(it printed nothing)"

    def pids(self) -> list[int]:
        """The process and its direct children: nginx is a master and its workers."""
        return sorted([self.child.pid, *children_of(self.child.pid)])

    def stop(self) -> None:
        """Asks it to end, and ends its whole session when it has not done so in time."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()


def step_aside(pid: int) -> None:
    """Lets all others go before this process, which leads a session of its own. Where the kernel shares the CPUs out
    among sessions first, the session's priority is what counts."""
    os.setpriority(os.PRIO_PROCESS, pid, LOWEST_PRIORITY)
    session = Path(f"/proc/{pid}/autogroup")
    if session.exists():
        session.write_text(f"{LOWEST_PRIORITY}\n")


def children_of(parent: int) -> list[int]:
    """Ids of the processes whose parent is `parent`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            # The name is in parentheses and may hold blanks; the parent's id is the second field after it.
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(entry))
    return found


def thread_times(pid: int) -> dict[int, tuple[int, int]]:
    """Per thread of `pid`: nanoseconds that it ran, and that it waited for a CPU while it could have run."""
    times = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            ran, waited, _ = Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
        except OSError:
            continue
        times[int(task)] = (int(ran), int(waited))
    return times


class CpuReading:
    """CPU time of a program so far, in nanoseconds, over all threads of all its processes."""

    def __init__(self, pids: list[int]):
        self.pids = pids
        times = [time_of for pid in pids for time_of in thread_times(pid).values()]
        self.ran = sum(ran for ran, _ in times)
        self.waited = sum(waited for _, waited in times)
        # The kernel's own sum per process, which also keeps the threads that have ended (io_uring's helpers come and
        # go): it shows whether the sum over the living threads missed any.
        self.clock = sum(time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED) for pid in pids)

    def missed_share(self, before: "CpuReading") -> float:
        """How much of the CPU time since `before` the living threads do not account for, 0 to 1."""
        whole = self.clock - before.clock
        return abs(whole - (self.ran - before.ran)) / max(whole, 1)


def memory_kib(pids: list[int]) -> tuple[int, int]:
    """(RSS, PSS) in KiB, summed. PSS counts a page that several processes share once, so it is the one to quote."""
    rss = pss = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0])
            elif name == "Pss":
                pss += int(rest.split()[0])
    return rss, pss


def softirq_nanoseconds(cpus: list[int]) -> int:
    """CPU time of the kernel's soft interrupt threads on `cpus`: network work that no program was charged for."""
    names = {f"ksoftirqd/{cpu}" for cpu in cpus}
    total = 0
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if Path(f"/proc/{entry}/comm").read_text().strip() in names:
                total += int(Path(f"/proc/{entry}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on, below the range that outgoing connections take theirs from."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(max(1024, low - 8000), low))
    # Shuffled, so that two runs that start at once do not reach for the same ones.
    random.shuffle(candidates)
    found = []
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Unusable(f"fewer than {count} free ports below {low} on loopback")

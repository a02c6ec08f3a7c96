"""A Redis Cluster of three embedded nodes on this machine for tests and benchmarks; a replica if one is asked for."""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.connection import Connection
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as Unreachable

from fraudsite.dev import binaries, processes
from fraudsite.dev.output import refuse
from fraudsite.dev.throw_away import PREFIX

SLOTS = 16_384
NODES = 3
PATIENCE_S = 120.0
# Below those that Linux takes for outgoing connections: a killed node must find its own free when it comes back.
PORTS = range(15_000, 32_000)


@dataclass
class Cluster:
    """Nodes by number; `start_node` brings a killed one back at its old address, with what it had on disk: nothing,
    unless it was told SAVE or the cluster is `durable`."""

    root: Path
    password: str
    ports: list[tuple[int, int]]
    durable: bool = False
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [f"redis://:{self.password}@127.0.0.1:{port}" for port, _ in self.ports]

    def start_node(self, number: int, *, emptied: bool = False) -> None:
        port, bus_port = self.ports[number]
        folder = self.root / str(number)
        folder.mkdir(exist_ok=True)
        if emptied:
            (folder / "dump.rdb").unlink(missing_ok=True)
            shutil.rmtree(folder / "appendonlydir", ignore_errors=True)
        configuration = folder / "redis.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"cluster-port {bus_port}",
            "cluster-enabled yes",
            "cluster-node-timeout 3000",
            f"requirepass {self.password}",
            f"masterauth {self.password}",
            f"dir {folder}",
            "daemonize no",
            'logfile ""',
            f"appendonly {'yes' if self.durable else 'no'}",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines) + "\n")
        self.running[number] = processes.spawn(
            [binaries.redis_server().path, configuration], log=self.root / f"{number}.log", folder=folder
        )
        self._wait(lambda: self.ask(number, "PING") == b"PONG", "a node answers")

    def start_replica(self, of: int) -> int:
        """A further node that copies that one; its number."""
        number = len(self.ports)
        self.ports += _free_ports(2)
        self.start_node(number)
        _meet(self, number)
        source = self.told(of, "CLUSTER", "MYID")
        self._wait(lambda: source in self.told(number, "CLUSTER", "NODES"), "the nodes have met")
        self.ask(number, "CLUSTER", "REPLICATE", source)
        self._wait(
            lambda: "master_link_status:up" in self.told(number, "INFO", "replication"),
            "the replica is in step",
        )
        self.wait_until_whole()
        return number

    def node_of(self, slot: int) -> int:
        """The node that was given the slot when the cluster was made."""
        return next(number for number in range(NODES) if slot in _slots_of(number))

    def kill_node(self, number: int) -> None:
        process = self.running.pop(number)
        processes.kill_session(process.pid)
        process.wait()

    def wait_until_whole(self) -> None:
        """Until every node knows all others and that every slot is served."""
        for number in self.running:
            self._wait(partial(self._is_whole, number), "the cluster is whole")

    def _is_whole(self, number: int) -> bool:
        state, nodes = self.told(number, "CLUSTER", "INFO"), self.told(number, "CLUSTER", "NODES")
        return (
            "cluster_state:ok" in state
            and f"cluster_known_nodes:{len(self.ports)}" in state
            and "fail" not in nodes
        )

    def ask(self, number: int, *command: Any) -> Any:
        """One command to one node; None when it cannot be reached."""
        connection = Connection(
            host="127.0.0.1", port=self.ports[number][0], password=self.password, protocol=2
        )
        try:
            connection.send_command(*command)
            return connection.read_response()
        except (Unreachable, BusyLoadingError):
            return None
        finally:
            connection.disconnect()

    def told(self, number: int, *command: Any) -> str:
        """The text a node answers; nothing while it cannot answer."""
        return (self.ask(number, *command) or b"").decode()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                refuse(f"Redis Cluster: not within {PATIENCE_S:.0f} s: {what} (logs: {self.root})")
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self.running.values():
            processes.stop(process, signal_number=signal.SIGKILL, patience_s=5.0)
        shutil.rmtree(self.root, ignore_errors=True)


def start(*, durable: bool = False) -> Cluster:
    """`durable`: nodes keep what they were told through a crash, but for the last second, as in production."""
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    cluster = Cluster(root, secrets.token_hex(16), _free_ports(2 * NODES), durable)
    try:
        for number in range(NODES):
            cluster.start_node(number)
        _join(cluster)
        cluster.wait_until_whole()
    except BaseException:
        cluster.stop()
        raise
    return cluster


@contextmanager
def running() -> Iterator[Cluster]:
    cluster = start()
    try:
        yield cluster
    finally:
        cluster.stop()


def _join(cluster: Cluster) -> None:
    for number in range(NODES):
        slots = _slots_of(number)
        cluster.ask(number, "CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
        cluster.ask(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number in range(1, NODES):
        _meet(cluster, number)


def _slots_of(number: int) -> range:
    return range(number * SLOTS // NODES, (number + 1) * SLOTS // NODES)


def _meet(cluster: Cluster, number: int) -> None:
    port, bus_port = cluster.ports[number]
    cluster.ask(0, "CLUSTER", "MEET", "127.0.0.1", port, bus_port)


def _free_ports(n: int) -> list[tuple[int, int]]:
    """`n` ports that nobody listens on, in pairs."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == n:
            return list(zip(ports[::2], ports[1::2], strict=True))
    refuse(f"Redis Cluster: no free ports from {PORTS.start} to {PORTS.stop - 1}")

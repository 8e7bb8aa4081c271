"""Several nodes over one PostgreSQL on this machine: through a peer against local, fail-over, planned moves."""

import os
import statistics
import threading
import time

from . import shop
from .items_http import Write, p99, rate
from .load import request
from .server import Server
from .services import Postgres

SLOTS = 1_024
CALLERS = (1, 64, 256, 1_000)
# How long a node may take to get or to lose its slots.
PATIENCE_S = 60


class Nodes:
    """Nodes of one cluster, over a store of their own."""

    def __init__(self, run, binary, store):
        self.run, self.binary, self.store, self.count = run, binary, store, 0

    def start(self, weight=100):
        self.count += 1
        settings = {"SOUK_CLUSTER__LISTEN": "127.0.0.1:0", "SOUK_NODE__NAME": f"n{self.count}",
                    "SOUK_CLUSTER__WEIGHT": str(weight)}
        return Server(self.binary, os.path.join(self.run.folder, f"cluster-{self.count}"), self.store, settings)


def slots(server):
    return int(server.metric("souk_slots_owned"))


def until(what, is_so):
    """How long it took, in seconds."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"after {PATIENCE_S} s still not: {what}")
        time.sleep(0.01)
    return time.monotonic() - began


def quantile(sample, share):
    sample = sorted(sample)
    return sample[min(len(sample) - 1, int(share * len(sample)))]


def through_a_peer(run, binary, store, put):
    """One node has all slots, the other none: what is asked of that one goes through the link."""
    nodes = Nodes(run, binary, store)
    owner = nodes.start()
    until("it serves", lambda: slots(owner) == SLOTS)
    peer = nodes.start(weight=0)
    try:
        write = Write()
        writes = write.quantities(run, owner)
        carts = shop.carts(run.load, owner, 1_000, lines=1)
        reads = [request("GET", f"/v1/carts/{cart}", shop.guest(token)) for cart, token in carts]
        for repeat in range(run.repeats):
            for sort, requests in (("write", writes), ("read", reads)):
                for callers in CALLERS:
                    seen = {}
                    sides = {"local": owner, "peer": peer}
                    for side in (sides if repeat % 2 == 0 else reversed(sides)):
                        report = run.load.run(sides[side], requests, seconds=run.seconds, connections=callers)
                        seen[side] = rate(report)[1]
                        put(f"cluster.{sort}_{side}_{callers}", *rate(report))
                        put(f"cluster.{sort}_{side}_{callers}.p99", *p99(report))
                    put(f"cluster.{sort}_peer_{callers} / local", "x", seen["peer"] / seen["local"])
    finally:
        peer.discard(run.keep)
        owner.discard(run.keep)


def three_against_one(run, binary, store, put):
    """The same writes, asked of one node alone, and then of three that share its slots and these processors."""
    nodes = Nodes(run, binary, store)
    all_nodes = [nodes.start()]
    try:
        until("it serves", lambda: slots(all_nodes[0]) == SLOTS)
        writes = Write().quantities(run, all_nodes[0])
        for _ in range(run.repeats):
            put("cluster.one_node", *rate(run.load.run(all_nodes[0], writes, seconds=run.seconds)))
        all_nodes += [nodes.start(), nodes.start()]
        until("each has a third", lambda: all(slots(node) in (341, 342) for node in all_nodes))
        for _ in range(run.repeats):
            rates = [0.0] * len(all_nodes)

            def ask(number):
                part = writes[number::len(all_nodes)]
                report = run.load.run(all_nodes[number], part, seconds=run.seconds, connections=22)
                rates[number] = rate(report)[1]

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(all_nodes))]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            put("cluster.three_nodes", "/s", sum(rates))
        cpu, began = [node.cpu_s() for node in all_nodes], time.monotonic()
        time.sleep(5)
        used = sum(node.cpu_s() - before for node, before in zip(all_nodes, cpu))
        put("cluster.idle_cpu_of_three", "%", 100 * used / (time.monotonic() - began))
    finally:
        for node in all_nodes:
            node.discard(run.keep)


def fail_over(run, binary, store, put):
    """kill -9 of a node of two: until the other serves all slots. And joins and drains beside writes: the pauses of slots."""
    nodes = Nodes(run, binary, store)
    stays = nodes.start()
    took, joins, drains = [], [], []
    try:
        until("it serves", lambda: slots(stays) == SLOTS)
        writes = Write().quantities(run, stays)
        for kill in range(10 if run.quick else 30):
            goes = nodes.start()
            joins.append(until("it has its half", lambda: slots(goes) == SLOTS // 2))
            goes.stop(kill=True)
            took.append(until("the other serves all", lambda: slots(stays) == SLOTS))
            goes.discard(run.keep)
        busy = threading.Thread(target=lambda: run.load.run(stays, writes, seconds=40, connections=16))
        busy.start()
        for _ in range(2):
            goes = nodes.start()
            joins.append(until("it has its half", lambda: slots(goes) == SLOTS // 2))
            began = time.monotonic()
            goes.stop()
            drains.append(time.monotonic() - began)
            until("the other serves all", lambda: slots(stays) == SLOTS)
            goes.discard(run.keep)
        busy.join()
        buckets = [line for line in stays.call("GET", "/metrics")[1].splitlines()
                   if line.startswith("souk_slot_pause_seconds_bucket")]
        counts = [(line.split('le="')[1].split('"')[0], float(line.rsplit(" ", 1)[1])) for line in buckets]
        total = counts[-1][1]
        within = lambda share: next(bound for bound, count in counts if count >= share * total)
        put("cluster.moves", "", total)
        put("cluster.move_pause.p50, at most", "ms", 1_000 * float(within(0.50)))
        put("cluster.move_pause.p99, at most", "ms", 1_000 * float(within(0.99)))
    finally:
        stays.discard(run.keep)
    put("cluster.fail_over.p50", "s", statistics.median(took))
    put("cluster.fail_over.p99", "s", quantile(took, 0.99))
    put("cluster.join", "s", statistics.median(joins))
    put("cluster.drain", "s", statistics.median(drains))


def cluster(run, binary, say):
    """Nodes that share one PostgreSQL and these processors; everything durable."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    postgres = Postgres(run, "cluster-postgres")
    try:
        for part in (through_a_peer, three_against_one, fail_over):
            say(f"  {part.__doc__.splitlines()[0]}")
            part(run, binary, postgres.fresh(), put)
    finally:
        postgres.discard()
    return rows

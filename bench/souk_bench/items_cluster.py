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
# What takes so much longer than half of the requests take while nothing moves has waited for a slot that moves.
WAITED_US = 10_000
# For how long three nodes are watched that nobody asks for anything.
IDLE_S = 10


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


def through_a_peer(run, binary, postgres, put):
    """One node has all slots, the other none: what is asked of that one goes through the link."""
    nodes = Nodes(run, binary, postgres.fresh())
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


def three_against_one(run, binary, postgres, put):
    """The same writes, asked of one node alone, and then of three that share its slots and these processors."""
    nodes = Nodes(run, binary, postgres.fresh())
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
        # Until what the writes have left behind is done, and PostgreSQL has counted it.
        time.sleep(2)
        cpu, asked, began = [node.cpu_s() for node in all_nodes], postgres.transactions(), time.monotonic()
        time.sleep(IDLE_S)
        took = time.monotonic() - began
        used = sum(node.cpu_s() - before for node, before in zip(all_nodes, cpu))
        put("cluster.idle_cpu_of_three", "%", 100 * used / took)
        put("cluster.idle_queries_of_three", "/s", (postgres.transactions() - asked) / took)
    finally:
        for node in all_nodes:
            node.discard(run.keep)


class Shoppers:
    """Writes that come at a steady rate, whether or not there are answers, asked of a node that stays."""

    def __init__(self, run, server, writes, rate, seconds):
        self.report, self.began = {}, time.monotonic()

        def ask():
            options = {"connections": 512, "rate": rate, "seconds": seconds}
            self.report.update(run.load.run(server, writes, allow_failures=True, trace=True, **options))

        self.thread = threading.Thread(target=ask)
        self.thread.start()

    def now_us(self):
        return (time.monotonic() - self.began) * 1e6

    def answers(self, during):
        """To what was sent in this time: status, and after how many microseconds."""
        return [(status, latency) for sent, status, latency in self.report["trace"] if during[0] <= sent < during[1]]


def moves_beside_writes(run, binary, postgres, put):
    """A node comes, and goes, while another is asked for writes: how long it takes, and what the shoppers notice."""
    nodes = Nodes(run, binary, postgres.fresh())
    stays = nodes.start()
    try:
        until("it serves", lambda: slots(stays) == SLOTS)
        writes = Write().quantities(run, stays)
        # So much that the processors have room for the moves.
        steady = 0.3 * run.load.run(stays, writes, seconds=run.seconds)["rate"]
        for _ in range(run.repeats):
            shoppers, calm_s = Shoppers(run, stays, writes, steady, seconds=30), 5
            time.sleep(calm_s)
            spans, moved = {"before": (1e6, shoppers.now_us())}, stays.metric("souk_slots_moved")
            goes = nodes.start()
            until("it has its half", lambda: slots(goes) == SLOTS // 2)
            spans["join"] = (spans["before"][1], shoppers.now_us())
            put("cluster.join_beside_writes.moves", "", stays.metric("souk_slots_moved") - moved)
            time.sleep(1)
            begins, moved = shoppers.now_us(), stays.metric("souk_slots_owned")
            goes.stop()
            until("the other serves all", lambda: slots(stays) == SLOTS)
            spans["drain"] = (begins, shoppers.now_us())
            put("cluster.drain_beside_writes.moves", "", SLOTS - moved)
            goes.discard(run.keep)
            shoppers.thread.join()
            usual = statistics.median(latency for _, latency in shoppers.answers(spans["before"]))
            for name, span in spans.items():
                row = "cluster.before_moves" if name == "before" else f"cluster.{name}_beside_writes"
                answers = shoppers.answers(span)
                sample = [latency for _, latency in answers]
                if name != "before":
                    put(row, "s", (span[1] - span[0]) / 1e6)
                put(f"{row}.waited", "", sum(latency > usual + WAITED_US for latency in sample))
                put(f"{row}.requests", "", len(sample))
                put(f"{row}.failed", "", sum(status >= 400 for status, _ in answers))
                for share, of in ((0.50, "p50"), (0.99, "p99"), (1.00, "max")):
                    put(f"{row}.{of}", "ms", quantile(sample, share) / 1_000)
    finally:
        stays.discard(run.keep)


def fail_over(run, binary, postgres, put):
    """kill -9 of a node of two: until the other serves all slots. And joins and drains beside writes: the pauses of slots."""
    nodes = Nodes(run, binary, postgres.fresh())
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
        for part in (through_a_peer, three_against_one, moves_beside_writes, fail_over):
            say(f"  {part.__doc__.splitlines()[0]}")
            part(run, binary, postgres, put)
    finally:
        postgres.discard()
    return rows

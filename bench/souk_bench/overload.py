"""Three times the load that the node can carry: who is served, how fast, and what becomes of the rest."""

import statistics
import threading
import time

from . import shop
from .load import request

# The limits are the node's own here: that is what is measured.
SETTINGS = {"SOUK_HTTP__ACTIVE_MAX": None, "SOUK_HTTP__WAITING_MAX": None, "SOUK_HTTP__QUEUE_MAX": None}
CONNECTIONS = 4_000


class Overload:
    """Three times the load that it can carry, as an open loop."""

    settings = SETTINGS
    def prepare(self, run, server):
        shop.stock_up(run.load, server)

    def measure(self, run, server, repeat):
        values = {}
        for kind in ("write", "order"):
            values.update(self.burst(run, server, kind))
        return values

    def requests(self, run, server, kind, count):
        """What is asked, and how many of it there are; orders need carts, and a cart is bought once."""
        if kind == "write":
            return [request("POST", "/v1/carts", body={})], None
        return shop.completions(shop.carts(run.load, server, count, lines=3, contact=True)), count

    def burst(self, run, server, kind):
        seconds = run.seconds
        probe = [request("GET", "/v1/products/bench-000001")]
        # What it can carry: a closed loop of 256, which are never shed.
        requests, count = self.requests(run, server, kind, 4_000)
        calm = run.load.run(server, requests, connections=256, count=count, seconds=None if count else seconds)
        capacity = calm["ok_rate"]
        rate = 3 * capacity
        requests, count = self.requests(run, server, kind, int(rate * seconds) + 1)
        rss_before = server.rss_bytes()
        peak, stop = [rss_before], threading.Event()
        watching = threading.Thread(target=watch, args=(server, peak, stop))
        traced = {}
        total = seconds + 4

        def look():
            traced.update(run.load.run(server, probe, allow_failures=True, trace=True, connections=64, rate=200, seconds=total))

        looking = threading.Thread(target=look)
        watching.start()
        looking.start()
        began = time.monotonic()
        time.sleep(1)
        start_us = (time.monotonic() - began) * 1e6
        loaded = run.load.run(server, requests, allow_failures=True, connections=CONNECTIONS, rate=rate, seconds=seconds)
        end_us = (time.monotonic() - began) * 1e6
        looking.join()
        stop.set()
        watching.join()
        return self.rows(kind, calm, capacity, loaded, traced["trace"], (start_us, end_us), (rss_before, max(peak)))

    def rows(self, kind, calm, capacity, loaded, trace, during, rss):
        good = loaded["ok_us"] or {"p50": 0, "p99": 0}
        refused = loaded["refused_us"] or {"p50": 0, "p99": 0}
        statuses = loaded["statuses"]
        shed = sum(count for status, count in statuses.items() if status in ("429", "503"))
        name = f"overload.{kind}"
        before = [latency for sent, status, latency in trace if sent < during[0] - 5e4 and status == 200]
        return {
            f"{name}.capacity_256": ("/s", capacity),
            f"{name}.calm.p99": ("ms", calm["us"]["p99"] / 1000),
            f"{name}.served": ("/s", loaded["ok_rate"]),
            f"{name}.served / capacity": ("x", loaded["ok_rate"] / capacity),
            f"{name}.served.p50": ("ms", good["p50"] / 1000),
            f"{name}.served.p99": ("ms", good["p99"] / 1000),
            f"{name}.served.p99 / calm": ("x", good["p99"] / calm["us"]["p99"]),
            f"{name}.refused": ("", shed),
            f"{name}.refused.p50": ("ms", refused["p50"] / 1000),
            f"{name}.refused.p99": ("ms", refused["p99"] / 1000),
            f"{name}.refused_without_retry_after": ("", loaded["refused_without_retry_after"]),
            f"{name}.other_failures": ("", sum(statuses.values()) - shed - sum(
                count for status, count in statuses.items() if int(status) < 400)),
            f"{name}.not_offered": ("", loaded["unsent"]),
            f"{name}.broken_connections": ("", loaded["io_errors"]),
            f"{name}.rss_growth": ("MiB", (rss[1] - rss[0]) / 2**20),
            f"{name}.recovered_after": ("ms", recovery_ms(trace, during[1], statistics.median(before) if before else 1_000)),
        }


def recovery_ms(trace, end_us, usual_us):
    """After the end of the load, the last moment at which a read was refused or took 10 times as long as usual
    (and more than 20 ms)."""
    bad = [sent for sent, status, latency in trace
           if sent + latency > end_us and (status != 200 or latency > max(10 * usual_us, 20_000))]
    return max((max(bad) - end_us) / 1000, 0) if bad else 0


def watch(server, peak, stop):
    while not stop.wait(0.1):
        peak.append(server.rss_bytes())

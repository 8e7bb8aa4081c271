"""What a million carts cost: in memory, on disk, at start, and when one that is not in memory is asked for.

The items memory, bytes, ready and cold share one store, because filling it is most of the time."""

import json
import time

from . import shop
from .load import request

NAMES = ("memory", "bytes", "ready", "cold")
SETTINGS = {"SOUK_SLOTS__RESIDENT_BYTES_MAX": str(16 << 30), "SOUK_SLOTS__IDLE_MS": "86400000"}


def measure(run, binary, label, wanted, say):
    """`{row: [(unit, value)]}` of the wanted items, over one store."""
    count = run.count or (100_000 if run.quick else 1_000_000)
    rows = {"million: carts": [("", count)]}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    server = run.server(binary, f"million-{label}", SETTINGS)
    try:
        shop.stock_up(run.load, server, 100)
        before = state_of(server)
        say(f"  {label}: filling the store with {count:,} carts of one line")
        sample = fill(run, server, count)
        time.sleep(2)  # what is written in the background is nearly done
        after = state_of(server)
        if "memory" in wanted:
            memory(put, server, before, after, sample)
        if "bytes" in wanted:
            records = after["records"] - before["records"]
            put("bytes.store_per_event", "B", (after["stored"] - before["stored"]) / records)
            put("bytes.store_per_million_events", "MiB", (after["stored"] - before["stored"]) / records * 1e6 / 2**20)
        rests(run, put, server, wanted, sample, say, label)
        if "bytes" in wanted:
            put("bytes.store_per_event_closed", "B", (server.stored_bytes() - before["stored"]) / records)
    finally:
        server.discard(run.keep)
    return rows


def state_of(server):
    return {"rss": server.rss_bytes(), "counted": server.metric("souk_resident_bytes"),
            "entities": server.metric("souk_resident_entities"),
            "records": server.metric("souk_records_committed"), "stored": server.stored_bytes()}


def fill(run, server, count):
    """Carts of one line, in portions, so that no list gets large. The answer is some of them."""
    portion, sample = 100_000, []
    for done in range(0, count, portion):
        size = min(portion, count - done)
        made = shop.opened(run.load, server, size)
        lines = [request("POST", f"/v1/carts/{cart}/lines", shop.guest(token),
                         {"sku": shop.sku(place % 100), "quantity": 1}) for place, (cart, token) in enumerate(made)]
        run.load.run(server, lines)
        step = max(1, count // 40_000)
        sample += made[::step]
    return sample


def memory(put, server, before, after, sample):
    entities = after["entities"] - before["entities"]
    rss = (after["rss"] - before["rss"]) / entities
    counted = (after["counted"] - before["counted"]) / entities
    encoded = mean_state_bytes(server, sample[:50])
    put("memory.entities", "", entities)
    put("memory.rss_per_entity", "B", rss)
    put("memory.counted_per_entity", "B", counted)
    put("memory.state_as_json", "B", encoded)
    put("memory.rss_over_state", "B", rss - encoded)
    put("memory.rss_over_counted", "B", rss - counted)
    put("memory.rss_total", "MiB", after["rss"] / 2**20)


def mean_state_bytes(server, sample):
    admin = server.log_in()
    sizes = []
    for cart, _ in sample:
        seen = server.call("GET", f"/v1/admin/entities/cart/{cart}", headers=admin)[1]
        sizes.append(len(json.dumps(seen["state"], separators=(",", ":"))))
    return sum(sizes) / len(sizes)


def rests(run, put, server, wanted, sample, say, label):
    """Restarts: after an orderly stop and after kill -9, with the page cache of the system as it is."""
    repeats = run.repeats if {"ready", "cold"} & set(wanted) else 0
    first = 0
    for repeat in range(repeats):
        for kill in (False, True):
            if kill:
                # Something to recover: what was written since the last checkpoint.
                shop.opened(run.load, server, 5_000)
            stopped = time.monotonic()
            server.stop(kill=kill)
            stopped = time.monotonic() - stopped
            server.start()
            if "ready" in wanted:
                put("ready.after_kill" if kill else "ready.after_stop", "s", server.ready_s)
                if not kill:
                    put("ready.stop_takes", "s", stopped)
            if "cold" in wanted and not kill:
                # Each cart is asked for the first time since the start.
                share = len(sample) // repeats
                cold = [request("GET", f"/v1/carts/{cart}", shop.guest(token))
                        for cart, token in sample[first:first + share]]
                first += share
                one = cold[:min(500, share // 4)]
                alone = run.load.run(server, one, connections=1)
                many = run.load.run(server, cold[len(one):], connections=64)
                hot = run.load.run(server, cold[len(one):], connections=64)
                put("cold.one_at_a_time.p50", "ms", alone["us"]["p50"] / 1000)
                put("cold.one_at_a_time.p99", "ms", alone["us"]["p99"] / 1000)
                put("cold.reads_64", "/s", many["rate"])
                put("cold.reads_64.p99", "ms", many["us"]["p99"] / 1000)
                put("cold.the_same_hot", "/s", hot["rate"])
        say(f"  {label}: restart {repeat + 1} of {repeats} done")

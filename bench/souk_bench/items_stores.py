"""Every store beside the others: appends, reads of entities, bytes, and the HTTP write path."""

import contextlib
import os

from .items_disk import inside
from .items_http import Write, p99, rate
from .server import Server
from .services import Embedded, Postgres, Redis

STORES = ("sled", "fjall", "postgres", "redis")
WRITERS = (1, 64, 1_000)
ENTITIES = 2_000
# How long a history is that is followed; with --quick a tenth.
FOLLOWED = {"sled": 4_000_000, "fjall": 4_000_000, "postgres": 1_000_000, "redis": 1_000_000}


@contextlib.contextmanager
def services(run):
    """All stores, running, by name."""
    made = {}
    try:
        for name in STORES:
            kind = {"postgres": Postgres, "redis": Redis}.get(name)
            made[name] = kind(run) if kind else Embedded(run, name)
        yield made
    finally:
        for service in made.values():
            service.discard()


def stores(run, say):
    """Appends to every store beside a plain file; entities read back; what an event takes on the disk."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    with services(run) as all_stores:
        for repeat in range(run.repeats):
            for writers in WRITERS:
                appends(run, put, all_stores, writers, is_reversed=repeat % 2 == 1)
            say(f"  appends: repeat {repeat + 1} of {run.repeats} done")
        for repeat in range(run.repeats):
            for name, store in turns(all_stores, repeat % 2 == 1):
                filled(run, put, name, store)
            say(f"  entities and bytes: repeat {repeat + 1} of {run.repeats} done")
    return rows


def turns(of, is_reversed):
    return reversed(of.items()) if is_reversed else of.items()


def appends(run, put, all_stores, writers, is_reversed):
    rates = {}
    for name, store in turns({"file": None, **all_stores}, is_reversed):
        options = {"tasks": writers, "seconds": run.seconds, "bytes": 256}
        if store is None:
            told = inside(run, "file", "plain", **options)
        else:
            options["store"] = store.fresh()
            told = inside(run, "gathered", data_of(store), **options)
        rates[name] = told["rate"]
        row = f"stores.{name}.append_{writers}"
        put(row, "/s", told["rate"])
        put(row + ".p50", "ms", told["p50_us"] / 1000)
        put(row + ".p99", "ms", told["p99_us"] / 1000)
    for name in all_stores:
        put(f"stores.{name}.append_{writers} / file", "x", rates[name] / rates["file"])


def data_of(store):
    return os.path.basename(store.data) if isinstance(store, Embedded) else "nothing"


def filled(run, put, name, store):
    url = store.fresh()
    grown = {}
    told = inside(run, "filled", data_of(store), after=lambda: grown.update(store.grown()), tasks=ENTITIES, bytes=256, store=url)
    put(f"stores.{name}.load.p50", "ms", told["load"]["p50_us"] / 1000)
    put(f"stores.{name}.load.p99", "ms", told["load"]["p99_us"] / 1000)
    for what, size in grown.items():
        put(f"stores.{name}.bytes_per_event{what}", "B", size / told["records"])


def feed(run, say):
    """From empty to caught up: the feed of every store, read from its beginning to its end."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    with services(run) as all_stores:
        for repeat in range(run.repeats):
            for name, store in turns(all_stores, repeat % 2 == 1):
                records = FOLLOWED[name] // (10 if run.quick else 1)
                told = inside(run, "feed", data_of(store), store=store.fresh(), tasks=8, records=records)
                put(f"feed.{name}", "/s", told["rate"])
                put(f"feed.{name}.consumer", "/s", told["consumer_rate"])
                put(f"feed.{name}.bytes", "B", told["bytes"] / told["records"])
                put(f"feed.{name}.filled", "/s", told["fill_rate"])
            say(f"  repeat {repeat + 1} of {run.repeats} done")
    return rows


def http(run, binary, say):
    """The HTTP write path (quantities in carts, 64 connections) on every store."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    write, stands = Write(), {}
    with services(run) as all_stores:
        try:
            for name, store in all_stores.items():
                server = Server(binary, os.path.join(run.folder, f"http-{name}"), store.fresh())
                stands[name] = (server, [])
                stands[name] = (server, write.quantities(run, server))
                say(f"  {name}: prepared")
            for repeat in range(run.repeats):
                for name, (server, requests) in turns(stands, repeat % 2 == 1):
                    hello = run.load.hello(server, 1 if run.quick else 2)
                    report = run.load.run(server, requests, seconds=run.seconds)
                    hello = (hello + run.load.hello(server, 1 if run.quick else 2)) / 2
                    row = f"stores-http.{name}.set_quantity"
                    put(row, *rate(report))
                    put(row + " / hello", "x", rate(report)[1] / hello)
                    put(row + ".p99", *p99(report))
                say(f"  repeat {repeat + 1} of {run.repeats} done")
        finally:
            for server, _ in stands.values():
                server.discard(run.keep)
    return rows

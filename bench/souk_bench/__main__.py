"""The run: which items, which binaries, how often; then the table and the JSON."""

import argparse
import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

from . import items_cluster, items_disk, items_http, items_large, items_million, items_stores, overload
from .load import ROOT, Load, build
from .server import Server

ITEMS = {
    "write": items_http.Write,
    "reads": items_http.Reads,
    "orders": items_http.Orders,
    "hot-sku": items_http.HotSku,
    "large": items_large.Large,
    "overload": overload.Overload,
}
# Without a server, or of more than one binary: the runtime and the store of this checkout.
INSIDE = {"hot-sku": items_disk.hot_sku, "file": items_disk.file, "stores": items_stores.stores,
          "feed": items_stores.feed}
NAMES = [*ITEMS, "file", *items_million.NAMES, "stores", "stores-http", "feed", "cluster"]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """What the items need to know."""

    def __init__(self, options, load, inside, folder):
        self.quick, self.keep, self.store = options.quick, options.keep, options.store
        self.repeats = options.repeats or (3 if options.quick else 5)
        self.seconds = options.seconds or (3 if options.quick else 5)
        self.count = options.carts
        self.load, self.folder, self.inside = load, folder, inside

    def server(self, binary, name, settings=None):
        return Server(binary, os.path.join(self.folder, name), self.store, settings)


def measure_item(run, name, binaries):
    """All repeats of one item, over all binaries in turn: the answer is `{binary: {row: [(unit, value)]}}`."""
    kind = ITEMS[name]
    stands, results = {}, {label: {} for label in binaries}
    try:
        for label, binary in binaries.items():
            server = run.server(binary, f"{name}-{label}", getattr(kind, "settings", None))
            item = kind()
            stands[label] = (server, item)
            say(f"  {label}: preparing")
            item.prepare(run, server)
        for repeat in range(run.repeats):
            order = list(stands) if repeat % 2 == 0 else list(reversed(stands))
            for label in order:
                server, item = stands[label]
                hello = run.load.hello(server, 1 if run.quick else 2)
                values = item.measure(run, server, repeat)
                hello = (hello + run.load.hello(server, 1 if run.quick else 2)) / 2
                rows = results[label]
                rows.setdefault(f"{name}: hello", []).append(("/s", hello))
                for row, (unit, value) in values.items():
                    rows.setdefault(row, []).append((unit, value))
                    if unit == "/s":
                        rows.setdefault(row + " / hello", []).append(("x", value / hello))
                say(f"  {label}: repeat {repeat + 1} of {run.repeats} done")
    finally:
        for server, _ in stands.values():
            server.discard(run.keep)
    return results


def summary(results):
    """Rows with unit, median, and the spread that shows how much to believe it."""
    rows = {}
    for row, values in results.items():
        numbers = [value for _, value in values]
        rows[row] = {"unit": values[0][0], "median": statistics.median(numbers), "least": min(numbers),
                     "most": max(numbers), "values": numbers}
    return rows


def table(tables):
    labels = list(tables)
    names = list(dict.fromkeys(row for rows in tables.values() for row in rows))
    width = max(map(len, names), default=0)
    head = f"{'':{width}}  {'':>5}" + "".join(f"  {label:>12} {'(spread)':>19}" for label in labels)
    print(head + ("   change" if len(labels) == 2 else ""))
    for name in names:
        cells, medians, unit = [], [], ""
        for label in labels:
            row = tables[label].get(name)
            if row is None:
                cells.append(f"  {'-':>12} {'':>19}")
                continue
            unit = row["unit"]
            medians.append(row["median"])
            cells.append(f"  {shown(row['median']):>12} {'(' + shown(row['least']) + ' .. ' + shown(row['most']) + ')':>19}")
        change = f"  {medians[1] / medians[0] - 1:+7.1%}" if len(medians) == 2 and medians[0] else ""
        print(f"{name:{width}}  {unit:>5}" + "".join(cells) + change)


def shown(number):
    size = abs(number)
    return f"{number:,.0f}" if size >= 100 else f"{number:.1f}" if size >= 10 else f"{number:.3f}"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures souk; docs/bench.md says what the rows mean.")
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("--quick", action="store_true", help="3 short repeats, not 5")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float, help="how long one timed run takes")
    parser.add_argument("--store", default="sled", help="what keeps the journal (default: sled); stores, stores-http and feed measure all")
    parser.add_argument("--bin", metavar="FILE", help="measure this binary; without: the release is built")
    parser.add_argument("--against", metavar="FILE", help="and this one, in turn with it")
    parser.add_argument("--inside", metavar="FILE", help="the built examples/inside, with --bin (without: its rows are left out)")
    parser.add_argument("--carts", type=int, help="how many carts memory, bytes, ready and cold are measured with")
    parser.add_argument("--dir", default=os.path.join(ROOT, "target", "bench"), help="where the data goes: a real disk")
    parser.add_argument("--json", metavar="FILE", help="where the JSON goes (default: target/bench/<date>.json)")
    parser.add_argument("--keep", action="store_true", help="leave the data where it is")
    options = parser.parse_args()
    for item in options.items:
        if item not in NAMES:
            parser.error(f"there is no item {item}: it is one of {', '.join(NAMES)}")
    return options


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "")
    return {"cpus": os.cpu_count(), "model": model, "load": os.getloadavg()}


def main():
    options = arguments()
    os.makedirs(options.dir, exist_ok=True)
    filesystem = subprocess.run(["stat", "-f", "-c", "%T", options.dir], capture_output=True, text=True, check=True).stdout.strip()
    if filesystem == "tmpfs":
        raise SystemExit(f"{options.dir} is a tmpfs: nothing there is durable (give --dir)")
    # Thousands of connections, for the generator and for the servers.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    generator = build(say)
    binary, inside = options.bin, options.inside
    if binary is None:
        say("building the release (minutes)")
        # Both at once: one after the other would build what they share twice.
        command = ["cargo", "build", "--quiet", "--locked", "--release", "--bin", "souk", "--example", "inside"]
        subprocess.run(command, cwd=ROOT, check=True)
        binary = os.path.join(ROOT, "target", "release", "souk")
        inside = inside or os.path.join(ROOT, "target", "release", "examples", "inside")
    binaries = {"souk": binary} if options.against is None else {"bin": binary, "against": options.against}
    folder = os.path.join(options.dir, f"run-{os.getpid()}")
    os.makedirs(folder)
    run = Run(options, Load(generator, folder), inside, folder)
    wanted = options.items or NAMES
    began, machine_before = time.time(), machine()
    tables = {label: {} for label in binaries}
    try:
        for name in wanted:
            if name in ITEMS:
                say(f"{name}: {(ITEMS[name].__doc__ or '').strip()}")
                for label, results in measure_item(run, name, binaries).items():
                    tables[label].update(summary(results))
            if name in INSIDE and run.inside:
                say(f"{name}: {(INSIDE[name].__doc__ or '').strip()}")
                tables["souk" if "souk" in tables else "bin"].update(summary(INSIDE[name](run, say)))
            if name == "stores-http":
                say(f"{name}: {items_stores.http.__doc__}")
                for label, binary in binaries.items():
                    tables[label].update(summary(items_stores.http(run, binary, say)))
            if name == "cluster":
                say(f"{name}: {items_cluster.cluster.__doc__}")
                for label, binary in binaries.items():
                    tables[label].update(summary(items_cluster.cluster(run, binary, say)))
        million = [name for name in wanted if name in items_million.NAMES]
        if million:
            say(f"{', '.join(million)}: {(items_million.__doc__ or '').splitlines()[0]}")
            for label, binary in binaries.items():
                tables[label].update(summary(items_million.measure(run, binary, label, million, say)))
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    stamp = datetime.datetime.fromtimestamp(began).strftime("%Y-%m-%dT%H%M%S")
    path = options.json or os.path.join(ROOT, "target", "bench", stamp + ".json")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"began": stamp, "took_s": round(time.time() - began), "machine": machine_before, "quick": run.quick,
                   "store": run.store, "repeats": run.repeats, "filesystem": filesystem, "binaries": binaries,
                   "rows": tables}, file, indent=1)
    table(tables)
    say(f"\n{path} ({time.time() - began:.0f} s)")


if __name__ == "__main__":
    main()

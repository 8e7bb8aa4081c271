"""Items below the API: the program examples/inside measures them, and reports."""

import json
import os
import shutil
import subprocess


def inside(run, what, name, after=None, **options):
    """One run of the program on a directory of its own; `after` may look at what it leaves."""
    data = os.path.join(run.folder, name)
    command = [run.inside, what, "--data", data]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
        if after:
            after()
        return json.loads(done.stdout)
    finally:
        if not run.keep:
            shutil.rmtree(data, ignore_errors=True)


FILE = ("file", "journal", "journal_fjall")


def file(run, say):
    """The journal on sled and on fjall beside a plain file with group commit, in turn, on the same disk."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    for repeat in range(run.repeats):
        for writers in (1, 64, 1_000):
            rates = {}
            for what in FILE if repeat % 2 == 0 else reversed(FILE):
                program, _, store = what.partition("_")
                store = {"store": store} if store else {}
                told = inside(run, program, f"{what}-{writers}", tasks=writers, seconds=run.seconds, bytes=256, **store)
                rates[what] = told["rate"]
                put(f"file.{what}_{writers}", "/s", told["rate"])
                put(f"file.{what}_{writers}.p50", "ms", told["p50_us"] / 1000)
                put(f"file.{what}_{writers}.p99", "ms", told["p99_us"] / 1000)
            for what in FILE[1:]:
                put(f"file.{what}_{writers} / file_{writers}", "x", rates[what] / rates["file"])
        say(f"  repeat {repeat + 1} of {run.repeats} done")
    return rows


def hot_sku(run, say):
    """Reservations at one SKU, asked of the entity itself."""
    rows = {}
    put = lambda name, unit, value: rows.setdefault(name, []).append((unit, value))
    for repeat in range(run.repeats):
        for tasks in (64, 1_024):
            told = inside(run, "hot-sku", f"hot-{tasks}", tasks=tasks, seconds=run.seconds)
            put(f"hot-sku.reserved_{tasks}", "/s", told["held"]["rate"])
            put(f"hot-sku.reserved_{tasks}.p99", "ms", told["held"]["p99_us"] / 1000)
            put(f"hot-sku.reserved_keyed_{tasks}", "/s", told["held_keyed"]["rate"])
            put(f"hot-sku.reserved_and_sold_{tasks}", "/s", told["sold"]["rate"])
        say(f"  repeat {repeat + 1} of {run.repeats} done")
    return rows

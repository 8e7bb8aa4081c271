"""Servers of PostgreSQL and Redis of a run's own: on free ports, with data directories of their own, durable."""

import os
import shutil
import signal
import socket
import subprocess
import time

POSTGRES = {
    # What makes an acknowledged commit durable.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Room: the defaults are those of a very small machine. The rest is as it comes.
    "shared_buffers": "512MB",
    "wal_buffers": "16MB",
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
}
REDIS = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Service:
    """A server process that ends with this one, at the latest."""

    def __init__(self, run, name):
        self.keep, self.folder = run.keep, os.path.join(run.folder, name)
        self.log = self.folder + ".log"
        self.port = free_port()
        self.process = None
        os.makedirs(self.folder)

    def launch(self, command, signal_name, is_ready, **options):
        """Starts it, and waits until it answers."""
        command = ["setpriv", *self.user(), f"--pdeathsig={signal_name}", *command]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        until = time.monotonic() + 60
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{' '.join(command)} did not start; see {self.log}")
            time.sleep(0.02)

    def user(self):
        return []

    def stop(self, how=signal.SIGINT):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=120)
            self.process = None

    def discard(self):
        self.stop()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
            if os.path.exists(self.log):
                os.remove(self.log)


class Postgres(Service):
    """The newest PostgreSQL that is installed. It refuses to be root, and is `postgres` then."""

    def __init__(self, run, name="postgres"):
        super().__init__(run, name)
        versions = "/usr/lib/postgresql"
        found = sorted((int(v) for v in os.listdir(versions) if v.isdigit())) if os.path.isdir(versions) else []
        if not found:
            raise SystemExit(f"there is no PostgreSQL in {versions} (on Debian: apt-get install postgresql)")
        self.bin, self.databases = os.path.join(versions, str(found[-1]), "bin"), 0
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        data = os.path.join(self.folder, "data")
        made = [os.path.join(self.bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(["setpriv", *self.user(), *made], capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(made)} failed (the folder must be one that it may enter: --dir): {done.stderr}")
        settings = {**POSTGRES, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        command = [os.path.join(self.bin, "postgres"), "-D", data, "-p", str(self.port)]
        for setting, value in settings.items():
            command += ["-c", f"{setting}={value}"]
        probe = [os.path.join(self.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        self.launch(command, "INT", lambda: subprocess.run(probe, check=False).returncode == 0, cwd="/")

    def user(self):
        return ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []

    def sql(self, text, database="postgres"):
        command = [os.path.join(self.bin, "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                   "-d", database, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def fresh(self):
        """A store of its own: its URL."""
        if self.databases:
            self.sql(f"drop database bench_{self.databases}")
        self.databases += 1
        self.sql(f"create database bench_{self.databases}")
        self.before = self.sizes()
        return f"postgres://postgres@127.0.0.1:{self.port}/bench_{self.databases}"

    def transactions(self):
        """How many there have been in the store. A statement by itself is one."""
        counted = "select xact_commit + xact_rollback from pg_stat_database where datname = "
        return int(self.sql(f"{counted}'bench_{self.databases}'"))

    def sizes(self):
        database = f"bench_{self.databases}"
        self.sql("checkpoint")
        return {"": int(self.sql(f"select pg_database_size('{database}')")),
                "_wal": int(self.sql("select pg_current_wal_insert_lsn() - '0/0'"))}

    def grown(self):
        """By how much since it was fresh: on the disk for good, and through the log, whose files are used again."""
        after = self.sizes()
        return {what: after[what] - self.before[what] for what in after}


class Redis(Service):
    """redis-server."""

    def __init__(self, run, name="redis"):
        super().__init__(run, name)
        if not shutil.which("redis-server"):
            raise SystemExit("there is no redis-server (on Debian: apt-get install redis-server redis-tools)")
        self.start()

    def start(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder]
        for setting, value in REDIS.items():
            command += [f"--{setting}", value]
        self.launch(command, "TERM", lambda: self.ask("ping") == "PONG")

    def ask(self, *words):
        command = ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def fresh(self):
        """A store of its own: its URL. It begins with nothing, on the disk too."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder)
        os.makedirs(self.folder)
        self.start()
        self.before = self.sizes()
        return f"redis://127.0.0.1:{self.port}/"

    def info(self, name):
        return next(line.split(":", 1)[1] for line in self.ask("info").splitlines() if line.startswith(name + ":"))

    def sizes(self):
        return {"": disk_bytes(self.folder), "_memory": int(self.info("used_memory"))}

    def grown(self):
        """By how much since it was fresh: the file as it was appended to, and in memory; and the file rewritten."""
        after = self.sizes()
        self.ask("bgrewriteaof")
        while self.info("aof_rewrite_in_progress") != "0" or self.info("aof_rewrite_scheduled") != "0":
            time.sleep(0.05)
        after["_rewritten"] = disk_bytes(self.folder)
        return {what: after[what] - self.before.get(what, self.before[""]) for what in after}


class Embedded:
    """A store in the process, in a folder: here for the sake of likeness."""

    def __init__(self, run, engine):
        self.keep, self.engine, self.folder, self.count = run.keep, engine, os.path.join(run.folder, engine), 0

    def fresh(self):
        self.discard()
        self.count += 1
        return self.engine

    @property
    def data(self):
        return f"{self.folder}-{self.count}"

    def grown(self):
        return {"": disk_bytes(self.data)}

    def discard(self):
        if not self.keep:
            shutil.rmtree(self.data, ignore_errors=True)


def disk_bytes(folder):
    """What the files take, not how long they say that they are."""
    total = 0
    for path, _, files in os.walk(folder):
        total += sum(os.stat(os.path.join(path, name)).st_blocks * 512 for name in files)
    return total

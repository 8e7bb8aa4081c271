"""What a cluster needs beside its nodes: a PostgreSQL, and one address for all of them."""

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def postgres(folder):
    """Starts a server of its own below `folder`: the address of its database, and how to stop it."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]
    home, port = folder / "postgres", free_port()
    home.mkdir()
    # It refuses to run as root.
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.getuid() == 0 else []
    if user:
        folder.chmod(0o755)
        shutil.chown(home, "postgres")
    made = [*user, found / "initdb", "-D", home, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
    options = [word for setting in settings for word in ("-c", setting)]
    command = [*user, found / "postgres", "-D", home, "-p", str(port), *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop():
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)

    # A node waits for its store.
    return f"postgres://postgres@127.0.0.1:{port}/postgres", stop


def entrance(urls):
    """An address whose connections go to these in turn."""
    nodes = [url.removeprefix("http://").split(":") for url in urls]
    turns = iter(range(1 << 62))

    async def copy(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()  # the other side is told so

    async def connected(reader, writer):
        host, port = nodes[next(turns) % len(nodes)]
        answers, asks = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, asks), copy(answers, writer))
        asks.close()
        writer.close()

    port = free_port()
    is_open = threading.Event()

    async def serve():
        server = await asyncio.start_server(connected, "127.0.0.1", port)
        is_open.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    is_open.wait()
    return f"http://127.0.0.1:{port}"

"""Holds the real server against its own OpenAPI document, with schemathesis.

    run.py SOUK [SECONDS] [SEED]

Starts the binary SOUK on a free port with data of its own (with SCHEMATHESIS_NODES=N as N nodes of a cluster over a
PostgreSQL of their own, which are asked in turn), fills the shop, and lets schemathesis ask
every operation, as an administrator and as a customer: what the document allows, what it forbids, and
sequences in which one answer's ids are the next request's. No answer may be a server error, have a
status, a media type, a header or a shape that the document does not promise, or accept what the document
forbids. Ends with 1 when one does, or when operations were never reached.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import uuid

import cluster
import requests

ADMIN = {"email": "admin@example.com", "password": "correct horse battery"}
CUSTOMER = {"email": "customer@example.com", "password": "correct horse battery"}
ADDRESS = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "London",
    "postal_code": "SW1Y 4JH",
    "country": "GB",
}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]
# They end the session that the whole pass is signed in with: they have a pass of their own.
ENDING = r"POST /v1/auth/logout|DELETE /v1/me/sessions/\{id\}"
# What is quarantined answers 500 until it is released: that is done last, to carts that nobody asks for otherwise.
QUARANTINE = r"POST /v1/admin/entities/\{kind\}/\{id\}/(quarantine|release)"

# It does not end.
STREAM = "GET /v1/admin/cluster/events"


def start(souk, folder, *arguments):
    """A node in a folder of its own: the process, and where it listens."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOUK_")}
    environment |= {
        "SOUK_BOOTSTRAP_ADMIN_EMAIL": ADMIN["email"],
        "SOUK_BOOTSTRAP_ADMIN_PASSWORD": ADMIN["password"],
        "SOUK_LOG__FILTER": "error",
        "SOUK_STORE__SLOTS": "64",
        # A pass is longer than a token lives otherwise.
        "SOUK_AUTH__ACCESS_TTL_MS": str(24 * 3_600_000),
        # The provider that never answers must not hold a pass up.
        "SOUK_COMPLETE__DEADLINE_MS": "1000",
        "SOUK_PAYMENT__TIMEOUT_MS": "2000",
    }
    command = [souk, "serve", "--http", "127.0.0.1:0", "--sample", *arguments]
    server = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)
    said = server.stdout.readline().strip()
    if not said.startswith("listening on "):
        server.kill()
        sys.exit(f"the server said {said!r}")
    return server, said.removeprefix("listening on ")


class Shop:
    """The shop as one user, filled with what operations can be asked about."""

    def __init__(self, url, user, more):
        self.url, self.session, self.more = url, requests.Session(), more
        body = self.ask("POST", "/v1/auth/login", user)
        self.token, self.user = body["access_token"], body["user"]["id"]
        self.session.headers["Authorization"] = f"Bearer {self.token}"

    def ask(self, method, path, body=None):
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method != "GET" else {}
        answer = self.session.request(method, self.url + path, json=body, headers=headers, timeout=30)
        if not answer.ok:
            sys.exit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def cart(self, sku):
        cart = self.ask("POST", "/v1/carts", {})
        path = f"/v1/carts/{cart['id']}"
        self.ask("POST", f"{path}/lines", {"sku": sku, "quantity": 1})
        contact = {"email": "ada@example.com", "shipping_address": ADDRESS}
        return self.ask("PUT", f"{path}/contact", contact)

    def order(self, sku):
        cart = self.cart(sku)
        payment = {"payment": {"method": "mock", "token": "tok_ok"}}
        return self.ask("POST", f"/v1/carts/{cart['id']}/complete", payment)

    def known(self):
        """Names of what is there, by what they name."""
        products = self.ask("GET", "/v1/products?limit=20")["data"]
        skus = [variant["sku"] for product in products for variant in product["variants"]]
        categories = self.ask("GET", "/v1/categories")["data"]
        carts = [self.cart(sku) for sku in skus[:8]]
        orders = [self.order(sku) for sku in skus[:6]]
        addresses = [self.ask("POST", "/v1/me/addresses", ADDRESS) for _ in range(4)]
        return {
            "products": [name for product in products[-8:] for name in (product["id"], product["slug"])],
            "skus": skus[-8:],
            "categories": [category["slug"] for category in categories[-4:]],
            "carts": [cart["id"] for cart in carts],
            "lines": [cart["lines"][0]["id"] for cart in carts],
            "orders": [order["id"] for order in orders],
            "numbers": [order["number"] for order in orders],
            "addresses": [address["id"] for address in addresses],
            "kinds": ["cart", "order", "sku", "product", "user", "session", "keyring"],
            "entities": [carts[0]["id"], orders[0]["id"], skus[0], products[0]["id"], self.user],
            "emails": [ADMIN["email"], CUSTOMER["email"], "ada@example.com"],
            "strangers": [],
        }


# Which names the parameters of which paths take, half of the time.
BINDINGS = [
    (r"^/v1/carts/\{id\}", {"path.id": "carts", "path.line": "lines"}),
    (r"^/v1/(admin/)?orders/\{id\}", {"path.id": "orders"}),
    (r"^/v1/(admin/)?products/\{id\}", {"path.id": "products"}),
    (r"^/v1/admin/categories/\{id\}", {"path.id": "categories"}),
    (r"^/v1/admin/inventory/\{sku\}", {"path.sku": "skus"}),
    (r"^/v1/me/addresses/\{id\}", {"path.id": "addresses"}),
    (r"^/v1/admin/entities/", {"path.kind": "kinds", "path.id": "entities"}),
    (r"^/v1/admin/users/\{id\}", {"path.id": "strangers"}),
    (r"^/v1/admin/users$", {"query.email": "emails"}),
    (r"^/v1/orders/lookup$", {"query.number": "numbers", "query.email": "emails"}),
]


def configuration(known):
    """The names as dictionaries of schemathesis. (Strings of JSON are strings of TOML.)"""
    lines = []
    for name, values in known.items():
        if values:
            lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values)}"]
    for path, parameters in BINDINGS:
        bound = {parameter: name for parameter, name in parameters.items() if known[name]}
        if bound:
            lines += ["[[operations]]", f"include-path-regex = {json.dumps(path)}"]
            lines += ["[operations.parameters]"]
            lines += [f'"{parameter}" = {{ dictionary = "{name}", probability = 0.6 }}' for parameter, name in bound.items()]
    return "\n".join(lines) + "\n"


def ask_all(shop, folder, seed, seconds, *arguments, known):
    config = folder / "schemathesis.toml"
    config.write_text(configuration(known))
    command = [
        str(pathlib.Path(sys.executable).with_name("schemathesis")),
        *["--config-file", str(config)],
        *["run", f"{shop.url}/openapi.json"],
        *["--header", f"Authorization: Bearer {shop.token}"],
        *shop.more,
        *["--checks", ",".join(CHECKS)],
        *["--seed", str(seed), "--max-time", str(seconds)],
        *["--generation-database", "none", "--no-color", "--continue-on-failure", "--request-timeout", "30"],
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main():
    souk = str(pathlib.Path(sys.argv[1]).resolve())
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    nodes = int(os.environ.get("SCHEMATHESIS_NODES", "1"))
    failed = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if nodes == 1:
            servers, more, stop_store = [start(souk, folder, "--data", str(folder / "data"))], [], None
            url = servers[0][1]
        else:
            store, stop_store = cluster.postgres(folder)
            arguments = ["--store", "postgres", "--store-url", store, "--cluster", "127.0.0.1:0", "--node-name"]
            names = [f"node-{number}" for number in range(1, nodes + 1)]
            servers = [start(souk, folder / name, *arguments, name) for name in names]
            # each request on a connection of its own, and so at the next node
            url, more = cluster.entrance([at for _, at in servers]), ["--header", "Connection: close"]
        try:
            requests.post(f"{url}/v1/auth/register", json=CUSTOMER, timeout=30).raise_for_status()
            # All before the passes: their wrong passwords lock out whoever logs in from this address.
            admin, customer, leaving = (Shop(url, who, more) for who in (ADMIN, CUSTOMER, CUSTOMER))
            known = customer.known() | {"strangers": [customer.user]}
            admin_knows = admin.known() | {"strangers": [customer.user]}
            passes = [
                ("customer", customer, seconds // 3, known, f"{ENDING}|[A-Z]+ /v1/admin/.*"),
                ("administrator", admin, seconds - seconds // 3, admin_knows, f"{ENDING}|{STREAM}|{QUARANTINE}"),
            ]
            for who, shop, time, names, without in passes:
                print(f"\n== as {who}", flush=True)
                if ask_all(shop, folder, seed, time, "--exclude-name-regex", f"^({without})$", known=names) != 0:
                    failed.append(who)
            print("\n== ending sessions", flush=True)
            ending = ["--include-name-regex", f"^({ENDING})$", "--phases", "examples,coverage"]
            if ask_all(leaving, folder, seed, 20, *ending, known=known) != 0:
                failed.append("ending sessions")
            print("\n== quarantining", flush=True)
            spare = admin.cart(admin_knows["skus"][0])["id"]
            alone = {**admin_knows, "kinds": ["cart"], "entities": [spare]}
            last = ["--include-name-regex", f"^({QUARANTINE})$", "--phases", "examples,coverage"]
            if ask_all(admin, folder, seed, 20, *last, known=alone) != 0:
                failed.append("quarantining")
            for _, at in servers:
                metrics = requests.get(f"{at}/metrics", timeout=30).text
                if "\nsouk_http_panics 0\n" not in metrics:
                    failed.append("a handler has panicked")
        finally:
            ended = []
            for server, _ in servers:
                server.send_signal(signal.SIGTERM)
                ended.append(server.wait(timeout=60))
            if stop_store:
                stop_store()
    failed += [f"a server ended with {code}" for code in ended if code != 0]
    if failed:
        sys.exit(f"schemathesis (seed {seed}): {', '.join(failed)}")


main()

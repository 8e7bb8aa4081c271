"""Items that are measured through the API."""

from . import shop
from .load import request

CONNECTIONS = 64


class Write:
    """Durable cart writes, 64 connections."""

    def prepare(self, run, server):
        self.hot_lines = self.quantities(run, server)
        cold = shop.carts(run.load, server, 20_000 if not run.quick else 8_000)
        self.first_lines = [request("POST", f"/v1/carts/{cart}/lines", shop.guest(token),
                                    {"sku": shop.sku(number % shop.SKUS), "quantity": 1})
                            for number, (cart, token) in enumerate(cold)]

    def quantities(self, run, server):
        """Changes of quantities in 1,000 carts."""
        shop.stock_up(run.load, server, shop.SKUS)
        hot = shop.carts(run.load, server, 1_000, lines=1)
        requests = []
        for cart, token in hot:
            lines = server.call("GET", f"/v1/carts/{cart}", headers=shop.guest(token))[1]["lines"]
            for quantity in (2, 3):
                requests.append(request("PATCH", f"/v1/carts/{cart}/lines/{lines[0]['id']}", shop.guest(token),
                                        {"quantity": quantity}))
        # Twice through the carts, another quantity each time, so that each request is a change.
        return requests[0::2] + requests[1::2]

    def measure(self, run, server, repeat):
        seconds = run.seconds
        new = run.load.run(server, [request("POST", "/v1/carts", body={})], seconds=seconds)
        hot = run.load.run(server, self.hot_lines, seconds=seconds)
        share = len(self.first_lines) // run.repeats
        first = run.load.run(server, self.first_lines[repeat * share:(repeat + 1) * share])
        return {
            "write.new_cart": rate(new), "write.new_cart.p99": p99(new),
            "write.set_quantity": rate(hot), "write.set_quantity.p99": p99(hot),
            "write.add_line": rate(first), "write.add_line.p99": p99(first),
        }


class Reads:
    """Reads of a cart, of a product and of the caller."""

    def prepare(self, run, server):
        products = shop.stock_up(run.load, server)
        carts = shop.carts(run.load, server, 1_000, lines=3)
        email, password = "reader@bench.example", "a password for the bench"
        server.call("POST", "/v1/auth/register", {"email": email, "password": password})
        me = server.log_in(email, password)
        self.lists = {
            "reads.cart": [request("GET", f"/v1/carts/{cart}", shop.guest(token)) for cart, token in carts],
            "reads.product_by_id": [request("GET", f"/v1/products/{product}") for product in products],
            "reads.product_by_slug": [request("GET", f"/v1/products/bench-{n:06}") for n in range(len(products))],
            "reads.me": [request("GET", "/v1/me", me)],
            "reads.listing": [request("GET", "/v1/products?limit=25")],
        }

    def measure(self, run, server, repeat):
        values = {}
        for name, requests in self.lists.items():
            report = run.load.run(server, requests, seconds=run.seconds)
            values[name] = rate(report)
            values[name + ".p99"] = p99(report)
        return values


class Orders:
    """Orders of three lines, from placed to confirmed."""

    def prepare(self, run, server):
        shop.stock_up(run.load, server)
        self.bought = 0

    def measure(self, run, server, repeat):
        values = {}
        for connections in (64, 256):
            count = 2_000 if run.quick else 6_000
            ready = shop.carts(run.load, server, count, lines=3, contact=True)
            report = run.load.run(server, shop.completions(ready), connections=connections)
            name = f"orders.complete_{connections}"
            values.update({name: rate(report), name + ".p50": p50(report), name + ".p99": p99(report)})
        whole = run.load.run(server, shop.journey(), journey=True, picks=shop.SKUS, seconds=run.seconds)
        values["orders.journey"] = ("/s", whole["journey_rate"])
        values["orders.journey.complete_p99"] = ("ms", whole["steps"][-1]["p99"] / 1000)
        return values


class HotSku:
    """Orders of one line, all of the same SKU."""

    def prepare(self, run, server):
        shop.stock_up(run.load, server, 10)

    def measure(self, run, server, repeat):
        count = 2_000 if run.quick else 6_000
        ready = shop.carts(run.load, server, count, lines=1, contact=True, only=shop.sku(0))
        report = run.load.run(server, shop.completions(ready), connections=256)
        return {"hot-sku.orders": rate(report), "hot-sku.orders.p50": p50(report), "hot-sku.orders.p99": p99(report)}


def rate(report):
    return ("/s", report["ok_rate"])


def p50(report):
    return ("ms", report["us"]["p50"] / 1000)


def p99(report):
    return ("ms", report["us"]["p99"] / 1000)

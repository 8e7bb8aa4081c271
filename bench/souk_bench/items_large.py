"""Orders of 1,000 lines: from the completion to the decision, alone and beside other shoppers."""

import statistics
import threading
import time

from . import shop
from .items_http import p50, p99, rate
from .load import request

LINES = 1_000
SHOPPERS = 64
# An order is given up after this: the run ends.
PATIENCE_S = 300
# One request takes no more lines than this.
BULK = 500


class Large:
    """Orders of 1,000 lines, alone and beside 64 shoppers who change quantities."""

    def prepare(self, run, server):
        shop.stock_up(run.load, server, LINES)
        self.orders = 3 if run.quick else 10
        self.others = []
        for cart, token in shop.carts(run.load, server, 500, lines=1):
            line = server.call("GET", f"/v1/carts/{cart}", headers=shop.guest(token))[1]["lines"][0]["id"]
            for quantity in (2, 3):
                self.others.append(request("PATCH", f"/v1/carts/{cart}/lines/{line}", shop.guest(token),
                                           {"quantity": quantity}))
        # Twice through the carts, another quantity each time, so that each request is a change.
        self.others = self.others[0::2] + self.others[1::2]

    def measure(self, run, server, repeat):
        carts = shop.opened(run.load, server, 2 * self.orders)
        filled = [fill(run, server, cart, token) for cart, token in carts]
        for cart, token in carts:
            server.call("PUT", f"/v1/carts/{cart}/contact", shop.CONTACT, shop.guest(token))
        calm = run.load.run(server, self.others, connections=SHOPPERS, seconds=run.seconds)
        alone = [decided(server, *cart) for cart in carts[:self.orders]]
        beside, shoppers = self.beside(run, server, carts[self.orders:])
        return {
            "large.fill": ("ms", statistics.median(filled)),
            "large.order.p50": ("ms", statistics.median(alone)), "large.order.p99": ("ms", most(alone)),
            "large.order_beside_64.p50": ("ms", statistics.median(beside)),
            "large.order_beside_64.p99": ("ms", most(beside)),
            "large.shoppers_calm": rate(calm), "large.shoppers_calm.p50": p50(calm),
            "large.shoppers_calm.p99": p99(calm),
            "large.shoppers_beside": rate(shoppers), "large.shoppers_beside.p50": p50(shoppers),
            "large.shoppers_beside.p99": p99(shoppers),
        }

    def beside(self, run, server, carts):
        """The same orders while 64 others shop. They begin before the first and are measured in rounds, so that they
        end soon after the last; the answer has the worst round's report."""
        rounds, failed, over = [], [], threading.Event()

        def others():
            try:
                while not over.is_set():
                    rounds.append(run.load.run(server, self.others, connections=SHOPPERS, seconds=1))
            except SystemExit as why:
                failed.append(why)

        shopping = threading.Thread(target=others)
        shopping.start()
        try:
            times = [decided(server, *cart) for cart in carts]
        finally:
            over.set()
            shopping.join()
        if failed:
            raise failed[0]
        return times, max(rounds, key=lambda report: report["us"]["p99"])


def most(times):
    """The 99th percentile of few: the slowest."""
    return max(times)


def fill(run, server, cart, token):
    """Puts a line of each SKU into the cart, and says in how many milliseconds: in bulk, or one by one where the
    server does not take lines in bulk."""
    lines = [{"sku": shop.sku(number), "quantity": 1} for number in range(LINES)]
    path, began = f"/v1/carts/{cart}/lines", time.monotonic()
    for first in range(0, LINES, BULK):
        status, _ = server.call("POST", path, {"lines": lines[first:first + BULK]}, shop.guest(token), ok=range(200, 500))
        if status >= 300:
            run.load.run(server, [request("POST", path, shop.guest(token), line) for line in lines], connections=8)
            break
    return (time.monotonic() - began) * 1_000


def decided(server, cart, token):
    """Completes the cart, and says after how many milliseconds its order was decided."""
    began = time.monotonic()
    headers = {**shop.guest(token), "Idempotency-Key": f'"pay-{cart}"'}
    order = server.call("POST", f"/v1/carts/{cart}/complete", shop.PAYMENT, headers)[1]
    access = {"X-Order-Token": order["token"]}
    while order["status"] == "pending":
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit(f"an order of {LINES} lines is not decided after {PATIENCE_S} s")
        time.sleep(0.005)
        order = server.call("GET", f"/v1/orders/{order['id']}", headers=access)[1]
    if order["status"] != "confirmed":
        raise SystemExit(f"an order of {LINES} lines became {order['status']}: {order.get('rejection')}")
    return (time.monotonic() - began) * 1_000

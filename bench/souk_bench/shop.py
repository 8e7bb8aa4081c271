"""A shop to measure: products with stock, and carts on the way to an order."""

import random

from .load import request

SKUS = 1_000
STOCK = 1_000_000_000
CONTACT = {
    "email": "ada@example.com",
    "shipping_address": {"name": "Ada", "line1": "1 Mill Lane", "city": "Bath", "postal_code": "BA1 1AA", "country": "GB"},
}
PAYMENT = {"payment": {"method": "mock", "token": "tok_visa"}}


def sku(number):
    return f"BENCH-{number:06}"


def stock_up(load, server, skus=SKUS):
    """Products of one variant, published, with a lot of stock. The answer is their ids."""
    admin = server.log_in()
    products = []
    for number in range(skus):
        variant = {"sku": sku(number), "options": {"size": "M"}, "price": {"amount": 1_000 + number, "currency": "GBP"}}
        body = {"title": f"Bench {number:06}", "slug": f"bench-{number:06}", "description": "Measured. " * 20,
                "category_ids": [], "attributes": {"colour": "grey"}, "status": "published", "variants": [variant]}
        products.append(request("POST", "/v1/admin/products", admin, body))
    made = load.run(server, products, connections=32, save=True)
    stock = [request("PUT", f"/v1/admin/inventory/{sku(number)}", {**admin, "Idempotency-Key": f"stock-{number}"},
                     {"on_hand": STOCK}) for number in range(skus)]
    load.run(server, stock, connections=32)
    return [product for product, _ in made["saved"]]


def guest(token):
    return {"X-Cart-Token": token}


def opened(load, server, count):
    """New carts of guests: a list of id and token."""
    return load.run(server, [request("POST", "/v1/carts", body={})], count=count, save=True)["saved"]


def carts(load, server, count, lines=0, contact=False, only=None):
    """Guests' carts with so many lines of different SKUs (or of `only`): a list of id and token."""
    made = opened(load, server, count)
    pick = random.Random(7)
    for _ in range(lines):
        each = [request("POST", f"/v1/carts/{cart}/lines", guest(token),
                        {"sku": only or sku(pick.randrange(SKUS)), "quantity": 1}) for cart, token in made]
        load.run(server, each)
    if contact:
        load.run(server, [request("PUT", f"/v1/carts/{cart}/contact", guest(token), CONTACT) for cart, token in made])
    return made


def completions(made):
    return [request("POST", f"/v1/carts/{cart}/complete", {**guest(token), "Idempotency-Key": f'"pay-{cart}"'}, PAYMENT)
            for cart, token in made]


def journey(only=None):
    """A whole purchase: a cart, three lines, the contact, the completion."""
    opened = {"X-Cart-Token": "{token}"}
    steps = [request("POST", "/v1/carts", body={})]
    for place in "abc":
        body = {"sku": only or "BENCH-{%s}" % place, "quantity": 1}
        steps.append(request("POST", "/v1/carts/{id}/lines", opened, body))
    steps.append(request("PUT", "/v1/carts/{id}/contact", opened, CONTACT))
    steps.append(request("POST", "/v1/carts/{id}/complete", {**opened, "Idempotency-Key": '"pay-{id}"'}, PAYMENT))
    return steps

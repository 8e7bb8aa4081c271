"""Measures souk. scripts/bench starts this; docs/bench.md explains it."""

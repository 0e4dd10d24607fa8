"""Benchmarks: `make bench` runs them and writes tables beside this file."""

"""Benchmarks, and the table of cases that the tests share with them. Not installed."""

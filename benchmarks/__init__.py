"""Benchmarks of speed and memory, each beside its peer or its physical limit; results are in benchmarks/results."""

"""Speed and memory, each beside its peer or its physical limit in one run; results rest in benchmarks/results."""

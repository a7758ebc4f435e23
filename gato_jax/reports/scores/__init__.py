"""The section of a run's report on the scores of played tasks: aggregates, domains, and each task."""

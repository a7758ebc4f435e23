"""One thin script for each table or figure; each runs as `python -m experiments.NAME` from the repository's root."""

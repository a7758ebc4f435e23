"""Experiments, one script for each table or figure, run as `python -m experiments.NAME` from the repository root."""

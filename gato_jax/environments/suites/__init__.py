"""Suites: one module for each, which holds its environments and ends with its `Suite`, named SUITE."""

"""Worlds of our own building, which suites play: bodies, levels, and the scene of RGB stacking."""

"""The scene, the arm and the criteria of the suite rgb_stacking. May import environments.base and rendering."""

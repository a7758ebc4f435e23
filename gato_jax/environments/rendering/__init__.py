"""Renderers of MuJoCo scenes: ray casting, which needs no OpenGL, and OpenGL without a display."""

"""Program that draws an image by OpenGL, to find out whether that works: `python gl_probe.py egl`.

`choice` runs it in a process of its own, which a broken driver may crash. It prints the implementation of OpenGL, such
as `llvmpipe (LLVM 15.0.6, 256 bits), 4.5 (Compatibility Profile) Mesa 22.3.6`.
"""

import os
import sys
from typing import Any

_SIDE = 16  # pixels
_SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="above" pos="0 0 2"/>
    <geom size="0.5" rgba="1 0 0 1"/>
  </worldbody>
</mujoco>
"""


def main(platform: str):
    """Draw a red ball and print the implementation, or raise an error.

    Args:
      platform: `egl` or `osmesa`.
    """
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = platform  # read by the imports
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(_SCENE)  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
    data = mujoco.MjData(model)  # pyright: ignore[reportAttributeAccessIssue]
    mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    renderer = mujoco.Renderer(model, _SIDE, _SIDE)
    renderer.update_scene(data, camera="above")
    red, green, _ = renderer.render()[_SIDE // 2, _SIDE // 2]
    if red <= green:
        raise RuntimeError(f"the pixel of a red ball has red {red} and green {green}")
    names: list[Any] = [GL.glGetString(name) for name in (GL.GL_RENDERER, GL.GL_VERSION)]
    print(", ".join(name.decode() for name in names), flush=True)
    os._exit(0)  # some drivers crash when the process frees what it has drawn with


if __name__ == "__main__":
    main(sys.argv[1])

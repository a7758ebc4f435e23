"""Images of the scene by the renderer of the process; ray casting uses that most of the scene never moves."""

from __future__ import annotations

import numpy as np

from gato_jax.environments.rendering import Renderer, chosen_renderer, make_renderer
from gato_jax.environments.rendering.raycast import Pose, RayCaster, cast_rays
from gato_jax.environments.worlds.stacking import scene


def make_observer(model, camera: str, *, height: int, width: int) -> Renderer:
    """Return a renderer of the kind that this process has chosen, for one of the scene's cameras, named."""
    if chosen_renderer() == "raycast":
        return StillBackgroundRayCaster(model, model.camera(camera).id, height=height, width=width)
    return make_renderer(model, camera, height=height, width=width)


class StillBackgroundRayCaster(RayCaster):
    """A RayCaster that casts rays at still geoms only once, and at others only where they may be: several times faster.

    Images are the same as a RayCaster's. The background is cast anew when the camera has moved.

    Args:
      model: MuJoCo model of the scene, in which the visible geoms of the group `scene.STILL_GROUP` never move.
      camera: Index of one of the model's cameras.
      height: Height of the image in pixels.
      width: Width of the image in pixels.
    """

    def __init__(self, model, camera: int, *, height: int, width: int):
        super().__init__(model, camera, height=height, width=width)
        self._still, self._moving_groups = np.zeros(6, np.uint8), self._groups.copy()
        self._still[scene.STILL_GROUP], self._moving_groups[scene.STILL_GROUP] = 1, 0
        seen = self._moving_groups[np.minimum(model.geom_group, 5)].astype(bool) & (model.geom_rgba[:, 3] > 0)
        self._moving = np.flatnonzero(seen)
        self._background: tuple[bytes, np.ndarray, np.ndarray] | None = None

    def _cast(self, data, pose: Pose, rays: np.ndarray) -> None:
        view = pose.position.tobytes() + pose.rotation.tobytes() + np.float64(pose.field_of_view).tobytes()
        if self._background is None or self._background[0] != view:
            self._background = view, *cast_rays(self._model, data, pose.position, rays, self._still)
        _, self._geom_ids[:], self._distances[:] = self._background
        near = self._near(data, pose)
        geoms, distances = cast_rays(self._model, data, pose.position, rays[near], self._moving_groups)
        closer = (geoms >= 0) & ((self._geom_ids[near] < 0) | (distances < self._distances[near]))
        self._geom_ids[near[closer]], self._distances[near[closer]] = geoms[closer], distances[closer]

    def _near(self, data, pose: Pose) -> np.ndarray:
        """Return the indices of the rays in the rectangles of the image around the bounding spheres of moving geoms."""
        centres = (data.geom_xpos[self._moving] - pose.position) @ pose.rotation
        radius, depth = self._model.geom_rbound[self._moving], -centres[:, 2]
        ahead, around = depth > -radius, depth <= radius * 1.001  # around: some of the sphere is beside the camera
        mask = np.zeros(self._shape, bool)
        if np.any(ahead & around):
            return np.arange(mask.size)
        scale = self._shape[0] / (2 * np.tan(np.deg2rad(pose.field_of_view) / 2))  # pixels per unit of slope
        edges = []
        for axis, sign in ((1, -1.0), (0, 1.0)):  # rows count downwards, columns to the right
            angle = np.arctan2(sign * centres[:, axis], depth)
            width = np.arcsin(np.clip(radius / np.hypot(centres[:, axis], depth), 0.0, 1.0))
            middle = (self._shape[1 - axis] - 1) / 2
            slopes = np.tan(np.clip(angle + [[-1.0], [1.0]] * width, -1.5, 1.5))
            edges.append(np.clip(middle + scale * slopes + [[-1.0], [2.0]], 0, self._shape[1 - axis]).astype(int))
        for top, bottom, left, right in np.concatenate(edges).T[ahead]:
            mask[top:bottom, left:right] = True
        return np.flatnonzero(mask)

"""Images of a MuJoCo scene by ray casting, which needs neither OpenGL nor a display.

One ray is cast for each pixel by MuJoCo's `mj_multiRay`, which hits all geoms, meshes included, but no sites; goals and
spherical sites are drawn as spheres instead. Shading is flat: a headlight and a lamp above light the colours of the
geoms, without shadows, and without textures except for a checker on planes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

_SPHERE = 2  # mjGEOM_SPHERE
_NO_COLOUR = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # of geoms and sites that are given none
_LAMP = np.array([0.35, -0.35, 0.87])
_SKY = np.array([[0.93, 0.95, 0.98], [0.66, 0.75, 0.86]])  # colours at the horizon and overhead
_CHECKER = np.array([[0.74, 0.77, 0.80], [0.66, 0.70, 0.74]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sphere:
    """A spherical marker: centre (3,) and radius in metres; colour as red, green, blue and opacity in [0, 1]."""

    centre: np.ndarray
    radius: float
    colour: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pose:
    """A camera: position (3,), rotation (3, 3) with columns right, up, backward, vertical field of view in degrees.

    All are in the frame of the scene, in metres.
    """

    position: np.ndarray
    rotation: np.ndarray
    field_of_view: float


def look_at(*, eye: Sequence[float], target: Sequence[float], field_of_view: float) -> Pose:
    """Return the pose of a camera that stands at `eye` and looks at `target`, with the z axis upwards.

    Both are (3,) and may not lie above each other. `field_of_view` is the vertical one, in degrees.
    """
    backward = np.subtract(eye, target) / np.linalg.norm(np.subtract(eye, target))
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(backward, right), backward], axis=1)
    return Pose(position=np.array(eye, np.float64), rotation=rotation, field_of_view=field_of_view)


class RayCaster:
    """A renderer of one scene from one view. Geoms with an opacity of 0 and those of groups 3 to 5 are invisible.

    Args:
      model: MuJoCo model of the scene.
      view: A fixed pose, or the index of one of the model's own cameras, whose pose is read anew for each image.
      height: Height of the image in pixels.
      width: Width of the image in pixels.
      supersampling: Number of rays along each side of a pixel; 2 gives smooth edges at four times the cost.
      sites: True to draw the model's spherical sites, except for invisible ones and those of groups 3 to 5.
    """

    def __init__(
        self, model, view: Pose | int, *, height: int, width: int, supersampling: int = 1, sites: bool = False
    ):
        self._model, self._view = model, view
        self._height, self._width, self._supersampling = height, width, supersampling
        rows, columns = height * supersampling, width * supersampling
        x, y = np.meshgrid((np.arange(columns) - (columns - 1) / 2) / rows, ((rows - 1) / 2 - np.arange(rows)) / rows)
        self._plane = np.stack([x, y], axis=-1).reshape(-1, 2)  # (rays, 2), image height 1
        self._shape = (rows, columns)
        self._texture_means = _texture_means(model)
        self._sites = np.flatnonzero((model.site_type == _SPHERE) & (model.site_group < 3)) if sites else ()
        self._groups = np.array([1, 1, 1, 0, 0, 0], np.uint8)
        self._geom_ids = np.zeros(rows * columns, np.int32)
        self._distances = np.zeros(rows * columns, np.float64)

    def render(self, data, spheres: Sequence[Sphere] = ()) -> np.ndarray:
        """Return an image of the scene, (height, width, 3) uint8.

        Args:
          data: MuJoCo data with the state of the scene; derived positions must be up to date, as after `mj_forward`.
          spheres: Markers to draw into the scene.
        """
        pose = self._pose(data)
        rays = np.empty((len(self._plane), 3))
        rays[:, :2], rays[:, 2] = self._plane * (2 * np.tan(np.deg2rad(pose.field_of_view) / 2)), -1.0
        rays = rays @ pose.rotation.T
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        self._cast(data, pose, rays)
        hit = self._geom_ids >= 0
        depth = np.where(hit, self._distances, np.inf)
        points = pose.position + rays * np.where(hit, self._distances, 0.0)[:, None]
        light = _light(self._normals(points, rays), rays)
        colours = np.where(hit[:, None], self._surface(points) * light[:, None], _sky(rays))
        for sphere in (*self._site_spheres(data), *spheres):
            _draw_sphere(sphere, colours, depth, pose.position, rays)
        samples = self._supersampling
        frame = colours.reshape(self._height, samples, self._width, samples, 3).mean(axis=(1, 3))
        return (np.clip(frame, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)

    def close(self) -> None:
        """Do nothing: a ray caster holds no resources."""

    def _site_spheres(self, data) -> list[Sphere]:
        model = self._model
        spheres = []
        for site in self._sites:
            rgba, material = model.site_rgba[site], model.site_matid[site]
            if material >= 0 and np.all(rgba == _NO_COLOUR):  # MuJoCo prefers the site's own colour
                rgba = model.mat_rgba[material]
            red, green, blue, opacity = rgba.tolist()
            if opacity > 0:
                colour, radius = (red, green, blue, opacity), float(model.site_size[site, 0])
                spheres.append(Sphere(centre=data.site_xpos[site], radius=radius, colour=colour))
        return spheres

    def _cast(self, data, pose: Pose, rays: np.ndarray) -> None:
        """Set `_geom_ids` and `_distances` to what the rays (rays, 3) hit: -1 and -1.0 for a ray that hits nothing."""
        self._geom_ids[:], self._distances[:] = cast_rays(self._model, data, pose.position, rays, self._groups)

    def _pose(self, data) -> Pose:
        if isinstance(self._view, Pose):
            return self._view
        return Pose(
            position=data.cam_xpos[self._view].copy(),
            rotation=data.cam_xmat[self._view].reshape(3, 3),
            field_of_view=float(self._model.cam_fovy[self._view]),
        )

    def _surface(self, points: np.ndarray) -> np.ndarray:
        colours = self._geom_colours()[self._geom_ids]
        planes = np.flatnonzero(self._model.geom_type[self._geom_ids] == 0)  # mjGEOM_PLANE
        if planes.size:
            tile = np.floor(points[planes, :2] / 0.5).astype(np.int64).sum(axis=1) % 2
            colours[planes] = _CHECKER[tile]
        return colours

    def _geom_colours(self) -> np.ndarray:
        """Return the colour of each geom, (geoms, 3), its own or that of its material, times that of the texture."""
        model = self._model
        has_material = (model.geom_matid >= 0)[:, None]
        own = model.geom_rgba[:, :3].astype(np.float64)
        colours = np.where(has_material, model.mat_rgba[model.geom_matid, :3], own) if model.nmat else own
        return colours * self._texture_means

    def _normals(self, points: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Return unit surface normals (rays, 3), estimated from the hit points of neighbouring rays on the same geom.

        They face the camera. A hit without such neighbours gets the direction to the camera.

        Args:
          points: Hit points (rays, 3), row by row of the image.
          rays: Unit directions (rays, 3) away from the camera.
        """
        grid = points.reshape(*self._shape, 3)
        geoms = self._geom_ids.reshape(self._shape)
        normals = np.cross(_tangent(grid, geoms, axis=0), _tangent(grid, geoms, axis=1)).reshape(-1, 3)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 1e-12, normals / np.maximum(length, 1e-12), -rays)
        facing = np.einsum("rc,rc->r", normals, rays) > 0
        normals[facing] *= -1
        return normals


def cast_rays(model, data, position: np.ndarray, rays: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the geoms that rays hit first, (rays,) int32, and their distances in metres, (rays,); -1 for none.

    Args:
      model: MuJoCo model of the scene.
      data: Its data, with positions up to date.
      position: Origin of all rays, (3,).
      rays: Unit directions (rays, 3).
      groups: 1 for each of the six groups of geoms that can be hit, else 0; (6,) uint8.
    """
    import mujoco

    hits = np.zeros(len(rays), np.int32), np.zeros(len(rays), np.float64)
    static, bodies, cutoff = 1, -1, 1e10  # static geoms are hit too, no body is excluded, no maximum distance
    cast = mujoco.mj_multiRay  # pyright: ignore[reportAttributeAccessIssue]  it has no stubs
    cast(model, data, position, rays.ravel(), groups, static, bodies, *hits, len(rays), cutoff)
    return hits


def _tangent(grid: np.ndarray, geoms: np.ndarray, axis: int) -> np.ndarray:
    """Return the difference of neighbouring points along an axis of a grid (rows, columns, 3).

    It is taken to the next point, or from the previous one where the next lies on another geom. It is zero where both
    lie on others.

    Args:
      grid: Points (rows, columns, 3).
      geoms: Geom of each point (rows, columns).
      axis: 0 along the rows' index, 1 along the columns'.
    """
    same = geoms == np.roll(geoms, -1, axis=axis)
    same[(-1,) if axis == 0 else (slice(None), -1)] = False  # the last point has no next one
    forward = np.where(same[..., None], np.roll(grid, -1, axis=axis) - grid, 0.0)
    return np.where(same[..., None], forward, np.roll(forward, 1, axis=axis))


def _light(normals: np.ndarray, rays: np.ndarray) -> np.ndarray:
    head = np.clip(-np.einsum("rc,rc->r", normals, rays), 0.0, 1.0)
    lamp = np.clip(normals @ _LAMP, 0.0, 1.0)
    return 0.35 + 0.35 * head + 0.4 * lamp


def _sky(rays: np.ndarray) -> np.ndarray:
    height = np.clip(rays[:, 2:], 0.0, 1.0)
    return _SKY[0] * (1 - height) + _SKY[1] * height


def _draw_sphere(sphere: Sphere, colours: np.ndarray, depth: np.ndarray, eye: np.ndarray, rays: np.ndarray) -> None:
    """Blend a sphere into `colours` (rays, 3), in place, where it is closer to the camera than `depth` (rays,).

    `depth`, in metres, is not changed. `eye` is the camera's position (3,), and `rays` are unit directions (rays, 3).
    """
    along = rays @ (sphere.centre - eye)
    half_chord = sphere.radius**2 - (np.sum((sphere.centre - eye) ** 2) - along**2)  # squared
    near = along - np.sqrt(np.maximum(half_chord, 0.0))
    seen = np.flatnonzero((half_chord > 0) & (near > 0) & (near < depth))
    normals = (eye + rays[seen] * near[seen, None] - sphere.centre) / sphere.radius
    opacity = sphere.colour[3]
    shaded = np.array(sphere.colour[:3]) * _light(normals, rays[seen])[:, None]
    colours[seen] = opacity * shaded + (1 - opacity) * colours[seen]


def _texture_means(model) -> np.ndarray:
    """Return the mean colour of the first texture of each geom's material, (geoms, 3) in [0, 1]; 1 without one."""
    means = np.ones((model.ngeom, 3))
    for geom in np.flatnonzero(model.geom_matid >= 0):
        material = model.geom_matid[geom]
        for texture in model.mat_texid[material][model.mat_texid[material] >= 0][:1]:
            size = model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture]
            texels = model.tex_data[model.tex_adr[texture] :][:size].reshape(-1, model.tex_nchannel[texture])
            means[geom] = texels[:, :3].mean(axis=0) / 255
    return means

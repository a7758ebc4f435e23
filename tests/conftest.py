"""What every test runs under: one CPU that plays eight devices, no silent promotion, a skip that names its remedy."""

import atexit
import functools
import gc
import os
import shutil
import tempfile
from pathlib import Path

# All of this before jax is imported, which reads some of it then and the rest when the first array is made.
os.environ["JAX_PLATFORMS"] = "cpu"  # the same numbers on every machine, and libtpu stays quiet
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"  # for meshes
os.environ.setdefault("GLIBC_TUNABLES", "")  # training would start each process twice, for huge pages
os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu, which compiles for topologies, would ask the cloud where it is
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # two workers of pytest-xdist may hold libtpu at once

os.environ["GATO_RENDERER"] = "raycast"  # twenty times faster than OpenGL, and the same on every machine
os.environ["GATO_CACHE"] = tempfile.mkdtemp(prefix="gato_cache_")  # of these tests alone, their processes included

# The programs here are small and run briefly: compiling them takes most of the time of the tests. LLVM therefore skips
# its expensive passes and XLA its slower code generator, which takes two and a half times as long for a training step,
# except in `make test-all`; and what one process compiles, all processes of these tests load.
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled := tempfile.mkdtemp(prefix="gato_compiled_"))
os.environ.setdefault("GATO_WARM", warm := tempfile.mkdtemp(prefix="gato_warm_"))  # sockets of tests/warm_python.py
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

import jax
import pytest

for folder in (os.environ["GATO_CACHE"], compiled, warm):
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
jax.devices()  # eight from here on, whatever a test does to the environment of the processes it starts
jax.config.update("jax_numpy_rank_promotion", "raise")  # (B,) + (B, T) is a bug more often than a wish
jax.config.update("jax_numpy_dtype_promotion", "strict")  # so is bfloat16 + float32

EMOJI_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@functools.cache
def opengl() -> str | None:
    """The platform of OpenGL that draws without a display here, `egl` or `osmesa`; None if none does."""
    from gato_jax.environments.rendering import choice

    return next((platform for platform in choice.DEBIAN_PACKAGES if choice.works(platform)), None)


# marker -> (whether this machine has it, its name, the Debian packages that bring it)
NEEDS = {
    "needs_chromium": (lambda: CHROMIUM is not None, "Chromium", "chromium"),
    "needs_emoji_font": (EMOJI_FONT.exists, "Noto Color Emoji", "fonts-noto-color-emoji"),
    "needs_gl": (lambda: opengl() is not None, "OpenGL without a display", "libegl1 libgl1-mesa-dri"),
}


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    """An empty cache of token records for this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GATO_CACHE", str(folder))
    return folder


@pytest.fixture
def bucket(monkeypatch):
    """The address of an empty bucket, `gs://made`, which a server in this process keeps."""
    from gato_jax.runtime import bucket_locks
    from tests.runtime.made_bucket import made_bucket

    monkeypatch.setattr(bucket_locks, "SETTLE", 0.0)
    with made_bucket(monkeypatch) as address:
        yield address


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Let the garbage collector pass over what earlier files have imported and compiled: a full pass takes 0.6 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def shared_programs():
    """For files with several training runs in this process: their programs are compiled once, for two devices."""
    from tests.training.shared_programs import share_programs

    with pytest.MonkeyPatch.context() as patch:
        share_programs(patch)
        yield


# Files that take longest, in this order. pytest-xdist hands out whole files, so these come first: a long one at the end
# would leave the other workers idle. Not a promise: a file that becomes slow can be added.
LONGEST = (
    "training/test_loop.py", "environments/test_every_task.py", "training/test_step.py",
    "integration/test_finetune_command.py", "integration/test_whole_circle.py", "policy/test_cache.py",
    "integration/test_configs.py", "training/test_interruption.py", "rollouts/test_play.py",
    "integration/test_collect_command.py", "rollouts/test_recording.py", "model/test_resnet.py",
    "policy/test_policy.py", "integration/test_image_codes.py", "tokenization/test_decoding.py",
    "training/test_image_tokenizer.py", "experts/test_experts.py", "integration/test_plan_command.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]):
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish():
    """Let the garbage collector pass over modules and items, which live as long as the tests."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item):
    for marker, (present, name, package) in NEEDS.items():
        if item.get_closest_marker(marker) and not present():
            pytest.skip(f"{marker}: {name} is not installed; apt-get install {package}")

"""The package and its extras. requirements/ has the tested versions, which `make install` installs."""

import setuptools

# metaworld 3.1.1 pins this MuJoCo, and the tasks of dm-control fail on 4.0. Every extra that simulates with MuJoCo
# names it, so that plain pip installs the same version for any set of extras.
MUJOCO = "mujoco==3.3.0"
ROBOTICS = ["gymnasium-robotics==1.4.2", "gymnasium>=1.4", MUJOCO]

# One extra for each suite and job. There is no extra `all`, because plain pip cannot install everything: rgb_stacking
# pins another MuJoCo, and Procgen requires numpy<2, while JAX needs numpy 2. See requirements/README.md.
EXTRAS = {
    "adroit": ROBOTICS,
    "atari": ["ale-py>=0.12.1", "gymnasium>=1.4"],
    "babyai": ["minigrid>=3.2", "gymnasium>=1.4"],
    "dm_control": ["dm-control==1.0.28", MUJOCO],
    "fetch": ROBOTICS,
    "fetch_state": ROBOTICS,
    "gymnasium": ["gymnasium>=1.4"],
    "kitchen": ROBOTICS,
    "manipulation": ["dm-control==1.0.28", MUJOCO],
    "manipulation_vision": ["dm-control==1.0.28", MUJOCO],
    "meta_world": ["metaworld==3.1.1", MUJOCO],
    "miniworld": ["miniworld>=2.1", "gymnasium>=1.4"],
    "modular_rl": [MUJOCO],
    "pusht": ["gym-pusht==0.1.8"],
    "rgb_stacking": ["dm-robotics-moma==0.10.0", "dm-robotics-manipulation==0.10.0"],
    "robot": ROBOTICS,
    "vizdoom": ["vizdoom>=1.3.2"],
    "dialogue": ["chatterbot-corpus>=1.3.3"],
    "parquet": ["pyarrow"],
    "recordings": ["av", "h5py", "mcap", "mcap-ros2-support", "minari", "pyarrow", "rosbags"],
    "convert": ["apache-beam"],
    "credentials": ["c2pa-python"],
    "serving": ["prometheus-client", "websockets"],
    "web": ["websockets"],
    "buckets": ["gcsfs", "s3fs"],
    "tpu": ["jax[tpu]>=0.10.2"],
    "dev": [
        "beartype",
        "datasets",  # opens the exported Parquet files in tests
        "hypothesis",
        "import-linter",
        "jaxtyping",
        "pyright[nodejs]",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "tensorflow-cpu>=2.21",  # opens the written datasets in tests
        "websockets",
    ],
}

setuptools.setup(
    name="gato_jax",
    version="0.1.0",
    description="An open implementation of DeepMind's Gato (arXiv 2205.06175) in JAX and Flax",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["gato_jax", "gato_jax.*"]),
    # Templates, style sheets and score tables are in the folders of the code that reads them.
    package_data={
        "": ["*.css", "*.csv", "*.html", "*.js", "*.json", "*.jsonl", "templates/*", "static/*", "scores/*"],
        "gato_jax.experts.distillation": ["policies/**/*.safetensors"],
    },
    install_requires=[
        "absl-py",
        "array-record>=0.8.6",
        "dm-env",
        "etils",
        "filelock",  # of the size limit of JAX's compilation cache
        "flax>=0.12.8",
        "google-crc32c",
        "grain>=0.2.18",
        "jax>=0.10.2",
        "jaxtyping",
        "jinja2",
        "markupsafe",
        "ml_collections>=1.1",
        "msgpack",
        "numpy>=2",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "pillow",
        "psutil",
        "safetensors>=0.8",
        "sentencepiece>=0.2.1",
        "tensorboardx>=2.6.5",
        "tensorflow-datasets>=4.9.10",
        "tqdm",
        "xxhash",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["gato = gato_jax.cli:main"]},
)

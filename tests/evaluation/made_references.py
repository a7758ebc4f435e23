"""Reference scores of the installed version of a small task, with made-up numbers."""

from gato_jax.environments import package_versions, task_spec
from gato_jax.evaluation import References, Score
from gato_jax.evaluation.references import EpisodeTime, hash_spec
from gato_jax.experts import description

TASK = "babyai/GoToRedBallNoDists-v0"


def made_references(**changes) -> References:
    fields = {
        "task": TASK,
        "packages": tuple(package_versions(TASK)),
        "spec_hash": hash_spec(task_spec(TASK)),
        "metric": "return",
        "first_seed": 2_000_000,
        "random": Score(mean=10.0, std=1.0, episodes=20),
        "constant": Score(mean=12.0, std=1.0, episodes=20),
        "constant_action": "action=2",
        "constant_candidates": 7,
        "command": "made by hand",
        "expert": Score(mean=50.0, std=5.0, episodes=20),
        "expert_agent": description(TASK),
        "expert_time": EpisodeTime(seconds=0.5, cpu_seconds=0.6, cores=2),
    }
    return References(**{**fields, **changes})

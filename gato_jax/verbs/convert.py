"""`gato convert`: recordings of others become a dataset of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import write_json

if TYPE_CHECKING:
    from gato_jax.sources import EpisodeReader
    from gato_jax.sources.conversion import Conversion, Filter, Transform

_BEAM = "--beam."
_LISTED = 10


def convert(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes recordings of others as an RLDS dataset, on Apache Beam; run again, it goes on where it was.

    All cores of this machine work. --beam.OPTION=VALUE passes an option on to Beam, so that others do:
    --beam.runner=DataflowRunner --beam.project=NAME, or FlinkRunner, or SparkRunner. They have to see the same folders.
    """
    flags.DEFINE_string("source", None, "of the recordings, KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("fields", None, "JSON file that says what the recorded fields mean", flag_values=flag)
    flags.DEFINE_string("output", None, "folder of the datasets", flag_values=flag)
    flags.DEFINE_list("splits", ["train"], "of the source, comma-separated", flag_values=flag)
    flags.DEFINE_enum(
        "file_format", "array_record", ["array_record", "tfrecord"], "of the record files", flag_values=flag
    )
    flags.DEFINE_float(
        "max_rejected", 0.1, "share of the episodes that may be damaged", lower_bound=0.0, flag_values=flag
    )
    flags.DEFINE_float(
        "expert_share", None, "keep episodes of this share of the expert's return; the paper: 0.8", flag_values=flag
    )
    flags.DEFINE_bool("success_only", False, "keep successful episodes only", flag_values=flag)
    flags.DEFINE_bool("deduplicate", False, "of identical episodes keep the first", flag_values=flag)
    flags.DEFINE_string(
        "review", None, "instructions that gato instructions wrote and a person edited", flag_values=flag
    )
    flags.DEFINE_bool("allow_unreviewed", False, "take what nobody has decided on as accepted", flag_values=flag)
    flags.DEFINE_integer("shard_episodes", 1000, "in one record file, at most", lower_bound=1, flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "replace another dataset that is there", flag_values=flag)
    flags.DEFINE_string("json", None, "write the counts here", flag_values=flag)
    parse_flags(flag, [word for word in argv if not word.startswith(_BEAM)])
    require(flag, "source", "output", "splits")
    from gato_jax.sources import Fields, open_source
    from gato_jax.sources.conversion import convert as convert_source

    fields = None if flag.fields is None else Fields.read(flag.fields)
    readers = [open_source(flag.source, split, fields=fields) for split in flag.splits]
    made = convert_source(
        readers,
        flag.output,
        file_format=flag.file_format,
        filters=_filters(flag),
        max_rejected=flag.max_rejected,
        transform=_reviewed(flag, readers),
        shard_episodes=flag.shard_episodes,
        overwrite=flag.overwrite,
        beam_options=[f"--{word.removeprefix(_BEAM)}" for word in argv if word.startswith(_BEAM)],
    )
    report = {
        "episodes": made.episodes,
        "steps": made.steps,
        "rejected": [one._asdict() for one in made.rejected],
        "filtered": dict(made.filtered),
        "dataset": str(made.directory),
    }
    write_json(flag.json, report)
    _tell(made)


def _reviewed(flag: flags.FlagValues, readers: list[EpisodeReader]) -> Transform | None:
    """Gives each episode the instruction that the review has for it."""
    from gato_jax.sources.conversion import Transform
    from gato_jax.sources.instructions import Review, apply

    if flag.review is None:
        return None
    if len(readers) > 1:
        raise UsageError(
            f"--review={flag.review} is of one split, --splits names {len(readers)}; convert one at a time"
        )
    review = Review.read(flag.review)
    review.require_data(readers[0])
    instruct = apply(review, allow_unreviewed=flag.allow_unreviewed)
    return Transform(apply=instruct, spec=review.spec(readers[0].spec), fingerprint=review.fingerprint)


def _filters(flag: flags.FlagValues) -> list[Filter]:
    from gato_jax.sources.conversion import Deduplicate, ExpertShare, SuccessOnly

    asked = {"deduplicate": Deduplicate, "success_only": SuccessOnly}
    filters: list[Filter] = [make() for name, make in asked.items() if flag[name].value]
    return filters if flag.expert_share is None else [*filters, ExpertShare(share=flag.expert_share)]


def _tell(made: Conversion):
    for one in made.rejected[:_LISTED]:
        print(f"rejected: {one.where}: {one.reason}")
    for reason, times in Counter(one.reason for one in made.rejected).most_common():
        print(f"{times} rejected: {reason}")
    for name, count in made.filtered.items():
        print(f"--{name} left out {count} episodes")
    counts = f"{made.episodes} episodes, {made.steps} steps, {len(made.rejected)} rejected"
    print(f"{made.directory.parent.name}: {counts}, in {made.directory}")

"""`gato convert`: recordings of others become a dataset of ours."""

from __future__ import annotations

import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import write_json

if TYPE_CHECKING:
    from gato_jax.sources import EpisodeReader
    from gato_jax.sources.conversion import Conversion, Filter, TooManyRejectedError, Transform

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
    flags.DEFINE_float("max_rejected", 0.1, "share of the episodes that may be damaged", 0.0, 1.0, flag_values=flag)
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
    flags.DEFINE_string(
        "json", None, "write the counts and the rejected here; without a dataset, `dataset` is null", flag_values=flag
    )
    parse_flags(flag, [word for word in argv if not word.startswith(_BEAM)])
    require(flag, "source", "output", "splits")
    from gato_jax.sources import Fields, open_source
    from gato_jax.sources.conversion import TooManyRejectedError
    from gato_jax.sources.conversion import convert as convert_source

    fields = None if flag.fields is None else Fields.read(flag.fields)
    readers = [open_source(flag.source, split, fields=fields) for split in flag.splits]
    try:
        made = convert_source(
            readers,
            flag.output,
            file_format=flag.file_format,
            filters=_filters(flag),
            max_rejected=flag.max_rejected,
            transform=_reviewed(flag, readers),
            source=_absolute(flag.source),
            shard_episodes=flag.shard_episodes,
            overwrite=flag.overwrite,
            beam_options=[f"--{word.removeprefix(_BEAM)}" for word in argv if word.startswith(_BEAM)],
        )
    except TooManyRejectedError as error:
        write_json(flag.json, _report(error))
        _tell_left_out(error)
        raise
    write_json(flag.json, _report(made))
    _tell_left_out(made)
    counts = f"{_count(made.episodes, 'episode')}, {_count(made.steps, 'step')}, {len(made.rejected)} rejected"
    place = f"already there, kept in {made.directory}" if made.kept else f"in {made.directory}"
    print(f"{made.directory.parent.name}: {counts}, {place}")


def _reviewed(flag: flags.FlagValues, readers: list[EpisodeReader]) -> Transform | None:
    """Gives each episode the instruction that the review has for it."""
    from gato_jax.sources.conversion import Transform
    from gato_jax.sources.instructions import Review, apply_review

    if flag.review is None:
        return None
    if len(readers) > 1:
        raise UsageError(
            f"--review={flag.review} is of one split, --splits names {len(readers)}; convert one at a time"
        )
    review = Review.read(flag.review)
    review.require_data(readers[0])
    instruct = apply_review(review, allow_unreviewed=flag.allow_unreviewed)
    return Transform(apply=instruct, spec=review.spec(readers[0].spec), fingerprint=review.fingerprint, reviewed=True)


def _absolute(source: str) -> str:
    """KIND:WHERE, from whatever folder it is looked at."""
    kind, _, where = source.partition(":")
    path = pathlib.Path(where)
    return f"{kind}:{path.resolve()}" if path.exists() else source


def _filters(flag: flags.FlagValues) -> list[Filter]:
    from gato_jax.sources.conversion import Deduplicate, ExpertShare, SuccessOnly

    asked = {"deduplicate": Deduplicate, "success_only": SuccessOnly}
    filters: list[Filter] = [make() for name, make in asked.items() if flag[name].value]
    return filters if flag.expert_share is None else [*filters, ExpertShare(share=flag.expert_share)]


def _report(outcome: Conversion | TooManyRejectedError) -> dict[str, Any]:
    """What --json holds: of a conversion that failed, a dataset that is null and has no episodes."""
    made = None if isinstance(outcome, ValueError) else outcome
    return {
        "episodes": made.episodes if made else 0,
        "steps": made.steps if made else 0,
        "rejected": [one.to_json() for one in outcome.rejected],
        "filtered": dict(outcome.filtered),
        "dataset": str(made.directory) if made else None,
    }


def _tell_left_out(outcome: Conversion | TooManyRejectedError):
    for one in outcome.rejected[:_LISTED]:
        print(f"rejected: {one.location}: {one.reason}")
    for reason, times in Counter(one.reason for one in outcome.rejected).most_common():
        print(f"{times} rejected: {reason}")
    for name, count in outcome.filtered.items():
        print(f"--{name} left out {_count(count, 'episode')}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

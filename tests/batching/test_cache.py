"""The cache of token records: one entry for each content, made once, kept while it is used."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from gato_jax.batching import (
    RecordsError,
    cache,
    cache_entries,
    cached_records,
    prune_cache,
    record_writer,
    verify_cache,
)
from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.runtime.file_locks import locked_file
from gato_jax.tokenization import Tokenization
from tests.tokenization.made_tasks import CONTROL, GAME, random_episode
from tests.warm_python import WarmProcess

ROOT = pathlib.Path(__file__).parents[2]
PAPER = Tokenization()

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two datasets of one task, and one of another."""
    made = {}
    for name, spec, seed in (("ours", CONTROL, 0), ("theirs", CONTROL, 10), ("game", GAME, 0)):
        episodes = [random_episode(spec, seed + number, 4) for number in range(6)]
        made[name] = write_dataset(tmp_path_factory.mktemp(name), spec, {"train": episodes})
    return made


@pytest.fixture
def written(monkeypatch):
    """The numbers of the shards that this process has written."""
    numbers, write_shard = [], record_writer._write_shard

    def count(job, layout, number, *rest):
        numbers.append(number)
        write_shard(job, layout, number, *rest)

    monkeypatch.setattr(record_writer, "_write_shard", count)
    return numbers


def opened(datasets, name, tokenization=PAPER):
    return cached_records(open_dataset(datasets[name]), tokenization, origin=name, workers=1)


def open_in_process(dataset):
    return WarmProcess(["-m", "tests.batching.open_cached", dataset])


def as_if_unused(own_cache):
    """As if the processes that used the entries had ended: this one still runs."""
    for path in (own_cache / "in_use").iterdir():
        path.unlink()


def test_the_second_time_nothing_is_written(datasets, written):
    first = opened(datasets, "ours")
    assert written == [0]
    second = opened(datasets, "ours")
    assert written == [0] and second.directory == first.directory and second.tokens == first.tokens


def test_equal_content_is_one_entry_wherever_it_is(datasets, written, tmp_path):
    copy = write_dataset(tmp_path, CONTROL, {"train": list(open_dataset(datasets["ours"]))})
    assert opened(datasets, "ours").directory == opened({"copy": copy}, "copy").directory and written == [0]


@pytest.mark.parametrize("name, settings", [("theirs", PAPER), ("game", PAPER), ("ours", Tokenization(mu=50.0))])
def test_other_content_is_another_entry(datasets, written, name, settings):
    first, other = opened(datasets, "ours"), opened(datasets, name, settings)
    assert first.directory != other.directory and written == [0, 0]
    assert first.timesteps(0, 1)[0].token_ids.tolist() != other.timesteps(0, 1)[0].token_ids.tolist()


def test_eight_processes_at_once_write_it_once(datasets, own_cache):
    processes = [open_in_process(datasets["ours"]) for _ in range(8)]
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        answers.append(tuple(map(int, out.split())))
    assert sum(count for count, *_ in answers) == 1
    assert len({(tokens, ids) for _, tokens, ids in answers}) == 1
    assert sorted(path.suffix for path in (own_cache / "records").iterdir()) == ["", ".lock"]


def test_who_waits_says_so(datasets):
    name = cache.entry_name(open_dataset(datasets["ours"]), PAPER)
    lock = cache.lock_path(cache.cache_root() / "records" / name)
    with locked_file(lock):
        with pytest.raises(OSError, match=f"{lock}: another process holds the lock"), locked_file(lock):
            pass
        process = open_in_process(datasets["ours"])
        line = process.stderr.readline()
    assert line.startswith(f"waiting for another process that uses the token records of {CONTROL.name} in ")
    assert process.communicate(timeout=100)[0].startswith("1 ")


def test_shards_that_a_killed_process_left_are_kept_and_its_lock_is_not(datasets, written, monkeypatch, own_cache):
    monkeypatch.setattr(record_writer, "SHARD_STEPS", 8)  # three shards

    def dies_at_the_second(job, layout, number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        write_shard(job, layout, number, *rest)

    write_shard = record_writer._write_shard
    with monkeypatch.context() as patch:
        patch.setattr(record_writer, "_write_shard", dies_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            opened(datasets, "ours")
    [entry] = cache_entries()
    assert written == [0] and not entry.complete and not entry.in_use
    records = opened(datasets, "ours")
    assert written == [0, 1, 2] and records.shards == (2, 2, 2) and records.steps == 24
    assert not list(own_cache.rglob("*.partial"))


def test_a_killed_maker_leaves_no_lock(datasets, own_cache):
    code = (
        "import os, signal, sys; from gato_jax.batching import record_writer\n"
        "record_writer._write_index = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import runpy; sys.argv[0] = 'open_cached'; runpy.run_module('tests.batching.open_cached', run_name='__main__')"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(datasets["ours"])], cwd=ROOT, timeout=100)
    assert killed.returncode == -signal.SIGKILL and list(own_cache.rglob("*.partial"))
    assert opened(datasets, "ours").steps == 24


@pytest.mark.parametrize("damage", ["meta", "index", "cut"])
def test_a_damaged_entry_is_named_and_made_again(datasets, written, caplog, damage):
    directory = opened(datasets, "ours").directory
    match damage:
        case "meta":
            (directory / "meta.json").write_text("{")
        case "index":
            (directory / "index_step_tokens.npy").write_bytes(b"")
        case "cut":
            os.truncate(directory / "steps-00000.array_record", 100)
    assert opened(datasets, "ours").timesteps(0, 4) and written == [0, 0]
    assert f"the token records in {directory} are damaged and made again: " in caplog.text


def decay(path, place):
    """Change a bit of a file, which keeps its time, as on a disk that decays."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_index_that_decayed_is_made_again(datasets, written, caplog):
    directory = opened(datasets, "ours").directory
    decay(directory / "index_first_step.npy", -8)
    assert opened(datasets, "ours").index.first_step.tolist() == [0, 4, 8, 12, 16, 20] and written == [0, 0]
    assert f"{directory} are damaged and made again: {directory}/index_first_step.npy: its checksum" in caplog.text


def test_records_that_decayed_are_named_when_they_are_read_and_made_again_by_the_next_run(datasets, written, caplog):
    records = opened(datasets, "ours")
    wanted = records.timesteps(0, 4)[0].token_ids
    path = records.directory / "steps-00000.array_record"
    decay(path, path.read_bytes().index(wanted.tobytes()))
    with pytest.raises(RecordsError, match=f"^{path} cannot be read .*; run again, which tokenizes the dataset again"):
        opened(datasets, "ours").timesteps(0, 4)
    assert written == [0] and opened(datasets, "ours").timesteps(0, 4)[0].token_ids.tolist() == wanted.tolist()
    assert written == [0, 0] and "damaged and made again: an earlier run found it" in caplog.text
    assert opened(datasets, "ours") and written == [0, 0]


def test_entries_are_listed(datasets, own_cache):
    opened(datasets, "ours")
    opened(datasets, "game", Tokenization(mu=50.0))
    game, ours = cache_entries()  # the one that was used last is first
    assert (ours.task, ours.origin, ours.tokenization) == (CONTROL.name, "ours", {})
    assert (game.task, game.origin, game.tokenization) == (GAME.name, "game", {"mu": 50.0})
    assert game.in_use and game.complete and abs(game.last_used - time.time()) < 60
    assert game.bytes == sum(file.stat().st_size for file in game.directory.iterdir())
    assert json.dumps([game.to_json()])


def test_what_is_used_or_made_is_not_pruned(datasets, own_cache):
    opened(datasets, "ours")
    assert prune_cache() == [] and len(cache_entries()) == 1
    as_if_unused(own_cache)
    with locked_file(cache.lock_path(cache_entries()[0].directory)):
        assert cache_entries()[0].in_use and prune_cache() == []
    [removed] = prune_cache()
    assert removed.origin == "ours" and cache_entries() == [] and not list((own_cache / "records").iterdir())


def test_another_running_process_keeps_its_entries(datasets, own_cache):
    code = (
        "import runpy, sys; sys.argv[0] = 'open_cached'\n"
        "runpy.run_module('tests.batching.open_cached', run_name='__main__'); sys.stdout.flush(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(datasets["ours"])]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("1 ")
    assert prune_cache() == []
    process.kill()
    process.communicate()
    assert len(prune_cache()) == 1


def test_age_and_size_narrow_what_is_pruned(datasets, own_cache):
    directories = [opened(datasets, name).directory for name in ("ours", "theirs", "game")]
    for days, directory in zip((40, 20, 0), directories, strict=True):
        then = time.time() - days * 24 * 60 * 60
        os.utime(directory / cache.LAST_USED_FILE, (then, then))
    as_if_unused(own_cache)
    assert [entry.origin for entry in prune_cache(older_than_days=30.0)] == ["ours"]
    theirs, game = sorted(cache_entries(), key=lambda entry: entry.last_used)
    assert prune_cache(max_gib=(theirs.bytes + game.bytes) / 2**30) == []
    assert [entry.origin for entry in prune_cache(max_gib=game.bytes / 2**30)] == ["theirs"]
    assert [entry.origin for entry in cache_entries()] == ["game"]


def test_verification_reads_everything(datasets):
    directory = opened(datasets, "ours").directory
    opened(datasets, "game")
    assert verify_cache(cache_entries()) == {}
    path = directory / "index_step_targets.npy"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    [(name, problem)] = verify_cache(cache_entries()).items()
    assert name == directory.name and "index_step_targets.npy: its checksum is" in problem


def test_a_worker_that_runs_the_script_of_its_parent_is_refused(datasets, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(cache.CacheError, match='below if __name__ == "__main__":'):
        opened(datasets, "ours")


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(datasets, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from gato_jax.batching import cached_records, record_writer\n"
        "from gato_jax.episodes import open_dataset\n"
        "from gato_jax.tokenization import Tokenization\n"
        "record_writer.SHARD_STEPS = 8\n"
        f"cached_records(open_dataset({str(datasets['ours'])!r}), Tokenization(), workers=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and 'below if __name__ == "__main__":.' in done.stderr
    assert "made/control: a worker process died while it tokenized" in done.stderr


def test_a_bucket_is_no_cache(monkeypatch):
    monkeypatch.setenv("GATO_CACHE", "gs://bucket/cache")
    with pytest.raises(cache.CacheError, match="GATO_CACHE is gs://bucket/cache, expected a folder"):
        cache.cache_root()


def test_a_reader_that_cannot_be_sent_is_tokenized_here(datasets, written, monkeypatch, caplog):
    monkeypatch.setattr(record_writer, "SHARD_STEPS", 8)
    reader = open_dataset(datasets["ours"])

    @dataclasses.dataclass
    class Local:
        """Of a class that other processes do not know."""

        spec = reader.spec
        split = reader.split
        fingerprint = reader.fingerprint
        lengths = reader.lengths

        def __len__(self):
            return len(reader)

        def __getitem__(self, position):
            return reader[position]

        def __iter__(self):
            return iter(reader)

    with caplog.at_level("INFO"):
        assert cached_records(Local(), PAPER, workers=2).steps == 24
    assert (
        written == [0, 1, 2] and "tokenizing in one process: the reader of the episodes cannot be sent" in caplog.text
    )

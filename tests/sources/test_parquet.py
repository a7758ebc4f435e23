"""Tests of the Parquet reader on files that Hugging Face's `datasets` wrote: rows, splits and damage."""

import dataclasses
import io
import pickle

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from gato_jax.sources.parquet.reader import open_parquet
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError
from tests.sources.made_lerobot import rewrite, with_column

LENGTHS = (5, 3, 4, 6)
PROVENANCE = Provenance(source="a laboratory", licence="MIT", kind="real")
ARM = Fields(
    suite="real",
    task="reach",
    observation={
        "image": ("image", Image(height=8, width=12)),
        "instruction": ("said", Text()),
        "state": ("arm/state", Continuous(shape=(2,))),
    },
    action={
        "arm": ("action[0:2]", Continuous(shape=(2,), low=-9.0, high=9.0)),
        "gripper": ("open", Discrete(n=2)),
    },
    provenance=PROVENANCE,
    reward="reward",
    success="success",
    timestamps="time",
    recorded_sizes={"image": (8, 12)},
)  # fmt: skip
KINDS = datasets.Features(
    {
        "image": datasets.Image(),
        "said": datasets.Value("string"),
        "arm": {"state": datasets.List(datasets.Value("float32"))},
        "action": datasets.List(datasets.Value("float32"), length=3),
        "open": datasets.Value("int64"),
        "reward": datasets.Value("float64"),
        "success": datasets.Value("bool"),
        "time": datasets.Value("timestamp[us]"),
    }
)
CAPTIONS = Fields(
    suite="captions",
    task="shades",
    observation={"image": ("image", Image(height=4, width=4))},
    action={"caption": ("text", Text())},
    provenance=PROVENANCE,
)


def steps(number: int) -> dict[str, list]:
    """Return the columns of one episode."""
    random, count = np.random.default_rng(number), LENGTHS[number]
    return {
        "image": [PIL.Image.fromarray(random.integers(0, 256, (8, 12, 3), np.uint8)) for _ in range(count)],
        "said": [f"reach {number}"] * count,
        "arm": [{"state": row} for row in random.normal(size=(count, 2)).astype(np.float32)],
        "action": list(random.uniform(-1, 1, (count, 3)).astype(np.float32)),
        "open": random.integers(0, 2, count).tolist(),
        "reward": np.arange(count, dtype=float).tolist(),
        "success": [step == count - 1 and number != 1 for step in range(count)],
        "time": [np.datetime64("2026-03-01T09:30:00") + np.timedelta64(40 * step, "ms") for step in range(count)],
    }


def save(columns: dict[str, list], features: datasets.Features, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features).to_parquet(file)


@pytest.fixture
def by_step(tmp_path):
    """Write a dataset in which a row is a step, and the second episode continues in the next file."""
    kinds = datasets.Features({**KINDS, "episode_index": datasets.Value("int64")})
    whole = {name: [value for number in range(4) for value in steps(number)[name]] for name in KINDS}
    whole["episode_index"] = np.repeat(np.arange(4), LENGTHS).tolist()
    for shard, part in enumerate((slice(0, 6), slice(6, 12), slice(12, 18))):
        columns = {name: values[part] for name, values in whole.items()}
        save(columns, kinds, tmp_path / f"data/train-{shard:05d}-of-00003.parquet")
    return tmp_path


@pytest.fixture
def by_episode(tmp_path):
    """Write a dataset in which a row is an episode of lists, with one text and one success flag."""
    kinds = datasets.Features({name: datasets.List(kind) for name, kind in KINDS.items() if name != "arm"})
    kinds |= {"arm": {"state": datasets.List(KINDS["arm"]["state"])}}
    kinds |= {"said": datasets.Value("string"), "success": datasets.Value("bool")}
    columns = {name: [steps(number)[name] for number in range(4)] for name in KINDS}
    columns["said"] = [texts[0] for texts in columns["said"]]
    columns["success"] = [values[-1] for values in columns["success"]]
    columns["arm"] = [{"state": [step["state"] for step in rows]} for rows in columns["arm"]]
    save(columns, datasets.Features(kinds), tmp_path / "data/train-00000-of-00001.parquet")
    return tmp_path


def check_episodes(reader):
    assert isinstance(reader, EpisodeReader) and reader.lengths.tolist() == list(LENGTHS) and reader.rejected == ()
    for number, episode in enumerate(pickle.loads(pickle.dumps(reader))):
        right = steps(number)
        np.testing.assert_array_equal(episode.observation["image"], np.stack(right["image"]))
        assert episode.observation["instruction"].tolist() == right["said"]
        np.testing.assert_array_equal(episode.observation["state"], [row["state"] for row in right["arm"]])
        np.testing.assert_array_equal(episode.action["arm"], np.stack(right["action"])[:, :2])
        assert episode.action["gripper"].tolist() == right["open"]
        assert episode.reward.tolist() == right["reward"] and episode.success == (number != 1)


def test_a_row_is_a_step_and_episodes_go_on_in_the_next_file(by_step):
    check_episodes(open_parquet(by_step, fields=ARM))


def test_a_row_is_an_episode_of_lists(by_episode):
    check_episodes(open_parquet(by_episode, fields=ARM))


def test_a_row_is_an_image_and_its_caption(tmp_path):
    kinds = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    pictures = [np.full((6, 6, 3), 40 * number, np.uint8) for number in range(3)]
    save({"image": pictures, "text": ["black", "dark", "grey"]}, kinds, tmp_path / "shades.parquet")
    reader = open_parquet(tmp_path / "shades.parquet", fields=CAPTIONS)
    assert reader.lengths.tolist() == [1, 1, 1] and reader[2].action["caption"].tolist() == ["grey"]
    np.testing.assert_array_equal(reader[1].observation["image"], np.full((1, 4, 4, 3), 40, np.uint8))
    with pytest.raises(EpisodeRejected, match="row 0: .* is 6 high and 6 wide, expected 9 and 9"):
        open_parquet(tmp_path, fields=dataclasses.replace(CAPTIONS, recorded_sizes={"image": (9, 9)}))[0]


def test_images_and_states_may_be_arrays(tmp_path):
    kinds = {"image": datasets.Array3D((4, 4, 3), "uint8"), "text": datasets.Value("string")}
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    save({"image": list(pictures), "text": ["one", "two"]}, datasets.Features(kinds), tmp_path / "train.parquet")
    for picture, episode in zip(pictures, open_parquet(tmp_path, fields=CAPTIONS), strict=True):
        np.testing.assert_array_equal(episode.observation["image"], picture[None])


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/test-00000-of-00001.parquet", "test"),
        ("data/validation-00000-of-00001-a1b2c3d4e5f60718.parquet", "validation"),
        ("default/test/0000.parquet", "test"),
        ("val.parquet", "val"),
        ("all.parquet", "train"),
    ],
)
def test_files_name_their_split(tmp_path, name, split):
    kinds = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    save({"image": [np.zeros((4, 4, 3), np.uint8)], "text": ["black"]}, kinds, tmp_path / name)
    assert len(open_parquet(tmp_path, split, fields=CAPTIONS)) == 1
    with pytest.raises(SourceError, match=f"no split 'dev'; it has {split}"):
        open_parquet(tmp_path, "dev", fields=CAPTIONS)


def test_fields_are_needed_and_have_to_be_there(by_step, tmp_path):
    with pytest.raises(
        SourceError, match=r"fields is None.*--propose_fields=FILE.*image \(image \(-1, -1, 3\)\).*open \(int64"
    ):
        open_parquet(by_step)
    unknown = dataclasses.replace(ARM, reward="arm/rewards")
    with pytest.raises(SourceError, match=r"it has no field 'arm/rewards'; its columns are image"):
        open_parquet(by_step, fields=unknown)
    with pytest.raises(SourceError, match="no \\*.parquet file at or below this path"):
        open_parquet(tmp_path / "elsewhere", fields=ARM)


def test_the_fingerprint_changes_with_data_and_fields(by_step):
    before = open_parquet(by_step, fields=ARM).fingerprint
    assert open_parquet(by_step, fields=dataclasses.replace(ARM, reward=None)).fingerprint != before
    rewrite(by_step / "data/train-00001-of-00003.parquet", with_column("open", lambda values: values[::-1]))
    assert open_parquet(by_step, fields=ARM).fingerprint != before


def test_a_shard_that_is_missing_or_cut_short_is_told(by_step):
    middle = by_step / "data/train-00001-of-00003.parquet"
    middle.write_bytes(middle.read_bytes()[:-50])
    reader = open_parquet(by_step, fields=ARM)  # the episodes that touch it are not whole, or may not be
    assert reader.lengths.tolist() == [5] and len(reader[0]) == 5
    assert [reason[:27] for _, reason, _ in reader.rejected] == [
        "the Parquet file cannot be ", "it may continue in the prev", "it may continue in the prev",
    ]  # fmt: skip
    middle.unlink()
    with pytest.raises(SourceError, match="shard 1 of 3 is missing. Download it"):
        open_parquet(by_step, fields=ARM)


def test_nothing_to_read_says_why(by_step):
    for file in (by_step / "data").iterdir():
        file.write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="no file that can be read. The first: .*00000-of-00003.parquet"):
        open_parquet(by_step, fields=ARM)


def test_rows_of_an_episode_have_to_be_together(by_step):
    rewrite(by_step / "data/train-00000-of-00003.parquet", with_column("episode_index", lambda _: [0, 0, 7, 0, 0, 1]))
    reader = open_parquet(by_step, fields=ARM)
    assert reader.lengths.tolist() == [1, 3, 4, 6] and len(reader.rejected) == 2
    assert reader.rejected[0].reason == "its rows are in 2 places, expected one. Sort them by episode_index"


NAN = float("nan")
DAMAGED_ROWS = {  # name -> (a change of episode 3, which is the rows of the last file, what is said of it)
    "no finite number": (with_column("action", lambda rows: [[0, NAN, 0], *rows[1:]]), "'arm'.* is nan at step 0"),
    "another dtype": (with_column("open", lambda rows: [0.5] * 6, pa.float32()), "'gripper'.* has type float32"),
    "out of range": (
        with_column("open", lambda rows: [*rows[:5], 2]), r"'gripper'.* is 2 at step 5, expected a value in \[0, 2\)"
    ),
    "null": (with_column("said", lambda rows: [None, *rows[1:]]), "'said' holds 1 null values"),
    "no field": (lambda table: table.drop_columns("open"), "it has no field 'open'; its columns are"),
    "time backwards": (with_column("time", lambda rows: rows[::-1]), "time goes from .* at step 1"),
    "no picture": (
        with_column("image", lambda rows: [{"bytes": b"?", "path": None}, *rows[1:]]), "at step 0 cannot be decoded"
    ),
    "a path alone": (
        with_column("image", lambda rows: [*rows[:5], {"bytes": None, "path": "../../secret.png"}]),
        "only the path '../../secret.png' at step 5, expected an image. Embed its bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED_ROWS)
def test_damaged_rows_are_rejected_and_the_rest_is_read(by_step, name):
    change, said = DAMAGED_ROWS[name]
    rewrite(by_step / "data/train-00002-of-00003.parquet", change)
    reader = open_parquet(by_step, fields=ARM)
    with pytest.raises(EpisodeRejected, match=f"train-00002-of-00003.parquet: episode_index 3: .*{said}"):
        reader[3]
    assert [len(reader[number]) for number in range(3)] == [5, 3, 4]


def test_another_size_of_a_camera_is_refused(by_step):
    def shrunk(rows: list) -> list:
        content = io.BytesIO()
        PIL.Image.new("RGB", (12, 6)).save(content, "png")
        return [*rows[:2], {"bytes": content.getvalue(), "path": None}, *rows[3:]]

    rewrite(by_step / "data/train-00002-of-00003.parquet", with_column("image", shrunk))
    with pytest.raises(EpisodeRejected, match="'image'.* at step 2 is 6 high and 12 wide, expected 8 and 12"):
        open_parquet(by_step, fields=ARM)[3]


def test_empty_and_uneven_episodes_are_told(by_episode):
    file = by_episode / "data/train-00000-of-00001.parquet"
    rewrite(file, with_column("open", lambda rows: [rows[0], [], rows[2][1:], None]))
    fields = dataclasses.replace(
        ARM, observation={"instruction": ("said", Text())}, action={"gripper": ARM.action["gripper"]}
    )
    reader = open_parquet(by_episode, fields=fields)
    assert reader.lengths.tolist() == [5, 3]
    assert [(row.rpartition(": ")[2], why) for row, why, _ in reader.rejected] == [
        ("row 1", "it has no steps"), ("row 3", "it has no steps"),
    ]  # fmt: skip
    with pytest.raises(
        EpisodeRejected, match="row 2: its columns have different lengths: 4 of .* 3 of action 'gripper'"
    ):
        open_parquet(by_episode, fields=ARM)[2]


def test_a_flipped_byte_is_refused_or_stays_within_the_values(by_step):
    file, random, refused = by_step / "data/train-00002-of-00003.parquet", np.random.default_rng(0), 0
    whole = file.read_bytes()
    for position in random.integers(0, len(whole), 60):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        reader = open_parquet(by_step, fields=ARM)
        try:
            refused += len(reader) < 4  # seen at once
            assert len(reader) < 4 or len(reader[3]) == 6
        except EpisodeRejected as error:
            assert "train-00002" in str(error)
            refused += 1
        assert len(reader[0]) == 5
    assert refused > 10


def test_checksums_are_checked_where_there_are_any(by_step):
    file = by_step / "data/train-00002-of-00003.parquet"
    pq.write_table(pq.read_table(file), file, write_page_checksum=True, compression="none", use_dictionary=False)
    whole = file.read_bytes()
    texts = b"\7\0\0\0reach 3"  # as Parquet lays them out
    assert whole.count(texts) == 6
    file.write_bytes(whole.replace(texts, b"\7\0\0\0leave 3", 1))
    with pytest.raises(EpisodeRejected, match="(?i)crc checksum"):
        open_parquet(by_step, fields=ARM)[3]


STEPS = Fields(
    suite="real",
    task="lift",
    observation={"state": ("state", Continuous(shape=()))},
    action={"action": ("action", Continuous(shape=(), low=0.0, high=99.0))},
    provenance=PROVENANCE,
)
NUMBERED_BY_FILE = {
    # name: (rows of each file as (episode_index, frame_index), lengths, rejected, names of shards)
    "single episodes": ([[(0, None)] * 4] * 3, [4, 4, 4], 0, False),
    "single episodes with steps": ([[(0, t) for t in range(4)]] * 3, [4, 4, 4], 0, True),
    "several episodes": ([[(0, None), (0, None), (1, None)]] * 3, [2, 1] * 3, 0, True),
    "several episodes with steps": ([[(0, 0), (0, 1), (1, 0)]] * 2, [2, 1] * 2, 0, False),
    "one number, one episode": ([[(5, 0), (5, 1)], [(5, 2), (5, 3)]], [4], 0, False),
    "a continued episode": ([[(0, None), (1, None)], [(1, None), (2, None)]], [1, 2, 1], 0, False),
    "steps that go on": ([[(0, 0), (1, 0), (1, 2)], [(1, 4), (2, 0)]], [1, 3, 1], 0, False),
    "shards of one number": ([[(0, None)] * 4] * 3, [], 3, True),
    "a number that may go on": ([[(0, None)], [(0, None), (1, None)]], [1], 2, False),
    "another first number": ([[(7, None)] * 2] * 2, [], 2, False),
    "a null": ([[(0, None), (1, None), (None, None), (2, None), (2, None), (3, None)]], [1, 1], 3, False),
    "a null inside": ([[(0, None), (None, None), (0, None), (1, None)]], [1], 2, False),
    "numbers as floats": ([[(0.0, None), (0.0, None), (1.0, None)]], [2, 1], 0, False),
}


@pytest.mark.parametrize("case", NUMBERED_BY_FILE)
def test_episodes_are_those_of_all_files(case, tmp_path):
    files, lengths, rejected, are_shards = NUMBERED_BY_FILE[case]
    row = 0
    for number, rows in enumerate(files):
        columns = {
            "episode_index": [episode for episode, _ in rows],
            "frame_index": [step for _, step in rows],
            "state": [0.5] * len(rows),
            "action": np.arange(row, row := row + len(rows)).astype(float),
        }
        if rows[0][1] is None:
            del columns["frame_index"]
        name = f"train-{number:05d}-of-{len(files):05d}" if are_shards else f"run_{number}"
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    if not lengths:
        with pytest.raises(SourceError, match="nothing tells whether it goes on in .*frame_index"):
            open_parquet(tmp_path, fields=STEPS)
        return
    reader = open_parquet(tmp_path, fields=STEPS)
    assert reader.lengths.tolist() == lengths and len(reader.rejected) == rejected
    actions = np.concatenate([episode.action["action"] for episode in reader])
    assert len(actions) == sum(lengths) and (np.diff(actions) > 0).all()
    assert len({one.location for one in reader.rejected}) == rejected


def test_a_gap_between_files_is_rejected(tmp_path):
    for number, steps in enumerate(([0, 1], [3])):
        columns = {"episode_index": [4] * len(steps), "frame_index": steps, "state": [0.5] * len(steps)}
        table = pa.table(columns | {"action": [1.0] * len(steps)})
        pq.write_table(table, tmp_path / f"train-0000{number}-of-00002.parquet")
    with pytest.raises(EpisodeRejected, match="frame_index goes from 1 to 3 at step 2"):
        open_parquet(tmp_path, fields=STEPS)[0]


TIMES = pa.array([1, 2], pa.timestamp("us"))


@pytest.mark.parametrize("numbers", [TIMES, TIMES.dictionary_encode(), pa.array([1, 2], pa.duration("s"))])
def test_times_do_not_number_episodes(tmp_path, numbers):
    for name, episodes in (("a", pa.array([0, 1])), ("b", numbers)):
        table = pa.table({"episode_index": episodes, "state": [0.5] * 2, "action": [1.0] * 2})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    reader = open_parquet(tmp_path, fields=STEPS)
    assert reader.lengths.tolist() == [1]
    assert "expected integers or strings" in reader.rejected[0].reason


def test_episodes_beside_a_file_that_is_refused_are_rejected(tmp_path):
    """A link that leads out of the folder may hold further steps of them."""
    (tmp_path / "run").mkdir()
    for name, episodes in (("run/a", [0, 1]), ("b", [1, 1]), ("run/c", [1, 2])):
        table = pa.table({"episode_index": episodes, "state": [0.5, 0.5], "action": [1.0, 1.0]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    (tmp_path / "run/b.parquet").symlink_to("../b.parquet")
    reader = open_parquet(tmp_path / "run", fields=STEPS)
    assert reader.lengths.tolist() == [1, 1]
    link, cut = reader.rejected
    assert link.location.endswith("run/b.parquet") and "outside of its folder" in link.reason
    assert cut.location.endswith("run/a.parquet: episode_index 1")
    assert cut.reason == "it may continue in the previous or next row or file, which is not read"


def numbered(file, numbers, column="frame_index"):
    """Write two episodes of four steps, whose values are their numbers, which need not be in order."""
    kinds = {"episode_index": datasets.Value("int64"), column: datasets.Value("int64")}
    kinds |= {"x": datasets.List(datasets.Value("float32")), "action": datasets.Value("int64")}
    columns = {"episode_index": [0] * 4 + [1] * 4, column: [*numbers, 0, 1, 2, 3], "action": [1] * 8}
    save(columns | {"x": [[float(number)] for number in columns[column]]}, datasets.Features(kinds), file)
    fields = dataclasses.replace(
        CAPTIONS, observation={"x": ("x", Continuous(shape=(1,)))}, action={"action": ("action", Discrete(n=2))}
    )
    return open_parquet(file, fields=fields)


@pytest.mark.parametrize("column", ["frame_index", "step_id"])
@pytest.mark.parametrize(
    "numbers, message",
    [
        ((2, 0, 3, 1), "goes from 2 to 0 at step 1"),
        ((0, 1, 1, 2), "goes from 1 to 1 at step 2"),
        ((0, 1, 3, 4), "goes from 1 to 3 at step 2"),
        ((3, 2, 1, 0), "goes from 3 to 2 at step 1"),
        ((5, 7, 9, 10), "goes from 9 to 10 at step 3"),
    ],
)
def test_steps_out_of_order_are_rejected(tmp_path, numbers, message, column):
    reader = numbered(tmp_path / "a.parquet", numbers, column)
    assert reader[1].observation["x"].tolist() == [[0], [1], [2], [3]]
    with pytest.raises(EpisodeRejected, match=f"{column} {message}, expected .* Sort the rows by {column}"):
        reader[0]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3), (10, 11, 12, 13), (0, 5, 10, 15)])
def test_steps_in_order_may_begin_anywhere_and_skip_the_same_number(tmp_path, numbers):
    reader = numbered(tmp_path / "a.parquet", numbers)
    assert reader[0].observation["x"].ravel().tolist() == list(numbers) and len(reader) == 2


def test_steps_out_of_order_in_the_list_of_an_episode_are_rejected(tmp_path):
    kinds = {"frame_index": datasets.List(datasets.Value("int64")), "action": datasets.List(datasets.Value("int64"))}
    columns = {"frame_index": [[0, 1, 2], [0, 2, 1]], "action": [[1, 0, 1], [1, 1, 0]]}
    save(columns, datasets.Features(kinds), tmp_path / "a.parquet")
    fields = dataclasses.replace(CAPTIONS, observation={}, action={"action": ("action", Discrete(n=2))})
    reader = open_parquet(tmp_path / "a.parquet", fields=fields)
    assert reader[0].action["action"].tolist() == [1, 0, 1]
    with pytest.raises(EpisodeRejected, match="frame_index goes from 2 to 1 at step 2"):
        reader[1]

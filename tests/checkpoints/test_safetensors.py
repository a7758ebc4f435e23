"""An agent in one file is the agent, bit for bit; whatever is wrong with a file is one error that names it."""

import dataclasses
import json
import re
import resource

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gato_jax.checkpoints import (
    AgentCheckpoint,
    CheckpointError,
    export_params,
    import_params,
    restore_agent,
    safetensors_format,
)
from gato_jax.model import cast_params, graphdef, param_path
from gato_jax.tokenization import Contract, Vocabulary
from gato_jax.tokenization.codecs.image import PATCH_POSITIONS
from tests.model.made_model import TINY, alive
from tests.tokenization.made_tasks import ALL

ROPE = dataclasses.replace(TINY, layers=1, position="rope", bin_init="fourier")
QUERY = "blocks.1.attention.query"


def made_checkpoint(model=TINY, params=None) -> AgentCheckpoint:
    contract = Contract.of(model.tokenization, ALL)
    memory = {task: 2 if task == "made/control" else None for task in contract.tasks}
    run = {"seed": 3, "context": 64, "memory_steps": memory, "mixture": "0f"}
    return AgentCheckpoint(20, model, graphdef(model), alive(model) if params is None else params, contract, run)


@pytest.fixture(scope="module")
def checkpoint():
    return made_checkpoint()


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """Do not change it: see `changed`."""
    path = tmp_path_factory.mktemp("exported") / "agent.safetensors"
    export_params(checkpoint, path)
    return path


def read(path):
    with safe_open(path, framework="np") as file:
        return file.get_tensors(), file.metadata()


@pytest.fixture
def changed(exported, tmp_path):
    """A function that writes what `exported` holds but for what is changed of its tensors and metadata."""

    def write(tensors=lambda tensors: tensors, sealed=False, **metadata):
        found, about = read(exported)
        about = {key: value for key, value in {**about, **metadata}.items() if value is not None}
        if not sealed:
            del about["sha256"]
        save_file(tensors(found), tmp_path / "changed.safetensors", metadata=about)
        return tmp_path / "changed.safetensors"

    return write


def named(params) -> dict[str, np.ndarray]:
    return {param_path(place): np.asarray(leaf) for place, leaf in jax.tree_util.tree_leaves_with_path(params)}


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype == jnp.float32 and isinstance(one, jax.Array)
        np.testing.assert_array_equal(np.asarray(one).view(np.uint32), np.asarray(other).view(np.uint32))


def assert_same(found: AgentCheckpoint, expected: AgentCheckpoint):
    assert_same_bits(found.params, expected.params)
    assert (found.step, found.model, found.run) == (expected.step, expected.model, expected.run)
    assert (found.graph, found.contract) == (expected.graph, expected.contract)


@pytest.mark.parametrize("model", [TINY, ROPE], ids=["relative_xl", "rope"])
def test_what_is_exported_is_imported_bit_for_bit(model, tmp_path):
    checkpoint = made_checkpoint(model)
    export_params(checkpoint, tmp_path / "new" / "agent.safetensors")
    found = import_params(tmp_path / "new" / "agent.safetensors")
    assert_same(found, checkpoint)
    assert found.contract.fingerprint == checkpoint.contract.fingerprint


def test_no_number_is_changed_even_one_that_is_none(checkpoint, tmp_path):
    odd = np.array([0x7F800001, 0xFFC12345, 0x7F800000, 0x80000000, 0x00000001], np.uint32)  # NaNs, inf, -0, denormal
    params = jax.tree.map(lambda leaf: jnp.asarray(np.resize(odd, leaf.shape).view(np.float32)), checkpoint.params)
    export_params(made_checkpoint(params=params), tmp_path / "odd.safetensors")
    assert_same_bits(import_params(tmp_path / "odd.safetensors").params, params)


def test_bfloat16_is_what_a_model_computes_with_in_bfloat16(checkpoint, exported, tmp_path):
    path = tmp_path / "half.safetensors"
    export_params(checkpoint, path, dtype="bfloat16")
    for name, tensor in load_file(path).items():
        assert tensor.dtype.name == ("float32" if "norm" in name else "bfloat16")
    found, rounded = import_params(path), cast_params(checkpoint.params, "bfloat16")
    assert_same_bits(found.params, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rounded))
    assert found.run == checkpoint.run and path.stat().st_size < 0.6 * exported.stat().st_size


def layout_of(model) -> dict[str, tuple[int, ...]]:
    """Names and shapes as the docstring has them, with the letters filled in."""
    settings = model.tokenization
    side = settings.patch // model.patch_stride
    letters = {
        "C": model.patch_channels, "D": model.width, "F": model.hidden // 2, "H": model.head_size,
        "K": max(model.patch_stride, 3), "L": settings.local_positions, "N": model.heads,
        "S": side * side * model.patch_channels, "V": -(-settings.vocabulary.size // 128) * 128,
    }  # fmt: skip
    shapes = {}
    for line in re.findall(r"^    ([\w.]+(?:, \.\w+)*)  +\(([\w, ]+)\)", safetensors_format.__doc__, re.MULTILINE):
        first, *others = line[0].split(", ")
        shape = tuple(letters[axis] if axis in letters else int(axis) for axis in line[1].split(", "))
        for name in [first, *(first.rpartition(".")[0] + other for other in others)]:
            for layer in range(model.layers if "blocks.i" in name else 1):
                shapes[name.replace("blocks.i", f"blocks.{layer}")] = shape
    return shapes


def test_the_layout_that_is_documented_is_that_of_the_file(checkpoint, exported):
    tensors = load_file(exported)  # by the library alone, as another tool would
    assert {name: tensor.shape for name, tensor in tensors.items()} == layout_of(TINY)
    assert tensors["embedding.row"].shape[0] == PATCH_POSITIONS
    for name, leaf in named(checkpoint.params).items():
        np.testing.assert_array_equal(tensors[name], leaf)


def test_the_documented_layout_with_rope_has_three_tensors_less(tmp_path):
    export_params(made_checkpoint(ROPE), tmp_path / "rope.safetensors")
    gone = ("relative", "content_bias", "position_bias")
    wanted = {name: shape for name, shape in layout_of(ROPE).items() if not name.endswith(gone)}
    found = load_file(tmp_path / "rope.safetensors")
    assert {name: tensor.shape for name, tensor in found.items()} == wanted


def test_metadata_say_all_that_acting_needs(checkpoint, exported):
    _, metadata = read(exported)
    assert set(metadata) == {"gato_jax", "step", "model", "contract", "run", "sha256"}
    about = {key: json.loads(value) for key, value in metadata.items() if key != "sha256"}
    assert (about["gato_jax"], about["step"], about["run"]) == (1, 20, checkpoint.run)
    assert about["contract"] == checkpoint.contract.to_json() and about["model"]["width"] == TINY.width


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def with_query(change):
    return lambda tensors: {**tensors, QUERY: change(tensors[QUERY])}


@pytest.mark.parametrize(
    "tensors, said",
    [
        (without(QUERY), f"lacks {QUERY}, which its model has; export it again, or add them"),
        (
            lambda _: {"query": np.zeros(3, np.float32)},
            f"lacks {len(layout_of(TINY))} tensors, the first of them blocks.0.attention.c",
        ),
        (lambda tensors: {**tensors, "head": tensors[QUERY]}, "holds head, which its model does not have; leave them"),
        (
            with_query(lambda query: query.reshape(32, 16)),
            rf"{QUERY} has the shape \(32, 16\), .*\(32, 2, 8\); reshape",
        ),
        (with_query(lambda query: query[..., 0, 0].copy()), rf"{QUERY} has the shape \(32,\)"),
        (with_query(lambda query: query.astype(np.float16)), f"{QUERY} is F16; convert it to F32 or BF16"),
        (with_query(lambda query: query.view(np.int32)), f"{QUERY} is I32; convert it to F32 or BF16"),
    ],
)
def test_tensors_that_are_not_the_models_are_named(changed, tensors, said):
    path = changed(tensors)
    with pytest.raises(CheckpointError, match=f"^{path}:? {said}"):
        import_params(path)


def model_with(**fields):
    return json.dumps({**json.loads(json.dumps(dataclasses.asdict(TINY))), **fields})


@pytest.mark.parametrize(
    "metadata, said",
    [
        ({"gato_jax": None}, "no metadata of gato_jax, so another tool wrote it; give it the metadata, names and shap"),
        ({"gato_jax": "2"}, "is of schema 2, this version reads 1; export it again with this version of gato_jax, or"),
        ({"gato_jax": "one"}, "is of schema one"),
        ({"model": None}, r"model of its metadata is missing or no JSON \('model'\)"),
        ({"run": "{"}, "run of its metadata is missing or no JSON"),
        ({"run": "[" * 100_000}, "run of its metadata is missing or no JSON"),
        ({"step": "true"}, "step of its metadata is True, no int"),
        ({"contract": "[]"}, r"contract of its metadata is \[\], no dict"),
        ({"model": model_with(experts=8)}, "this version does not know its model .*'experts'.*the version that w"),
        ({"model": model_with(layers=2.0)}, r"does not know its model \(model.layers is 2.0, expected a whole number"),
        ({"model": model_with(width="32")}, r"does not know its model \(model.width is '32', expected a positive"),
        ({"model": model_with(layers=0)}, "does not know its model .*layers is 0, expected a whole number"),
        ({"model": model_with(tokenization={})}, "its model has another tokenization than its contract"),
        ({"model": model_with(layers=3)}, "lacks 16 tensors, the first of them blocks.2.attention.content_bias"),
        ({"contract": "{}"}, "its contract is of another version; export it again with this version"),
        ({"run": '{"context": 64}'}, "memory_steps, with each of the tasks .*it has 64 and None"),
        ({"run": '{"context": "64", "memory_steps": {}}'}, "needs context, a number, .*it has '64' and {}"),
    ],
)  # fmt: skip
def test_metadata_that_are_not_ours_or_of_another_version_are_refused(changed, metadata, said):
    path = changed(**metadata)
    with pytest.raises(CheckpointError, match=f"(?s)^{path}:? .*{said}"):
        import_params(path)


def test_a_contract_of_another_version_shows_the_difference(checkpoint, changed):
    fields = checkpoint.contract.to_json()
    fields["vocabulary"]["separator"] = [7, 8]
    path = changed(contract=json.dumps(fields))
    with pytest.raises(CheckpointError, match=rf"{path}: its contract .*\n.*\n  vocabulary.separator: .* \[7, 8\] in "):
        import_params(path)


def test_a_contract_of_another_model_is_refused(changed):
    other = Contract.of(dataclasses.replace(TINY.tokenization, mu=50.0), ALL)
    with pytest.raises(CheckpointError, match="its model has another tokenization than its contract"):
        import_params(changed(contract=json.dumps(other.to_json())))


def test_another_tool_may_change_tensors_and_add_metadata(changed, checkpoint):
    twice = with_query(lambda query: query * 2)
    found = named(import_params(changed(twice, format="pt")).params)
    wanted = named(checkpoint.params)
    np.testing.assert_array_equal(found.pop(QUERY), 2 * wanted.pop(QUERY))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_what_was_changed_by_accident_is_refused(changed):
    path = changed(with_query(lambda query: query + np.float32(1e-6)), sealed=True)
    with pytest.raises(CheckpointError, match=f"{path} is not what was exported: .*leave sha256 out of its metadata"):
        import_params(path)


@pytest.mark.parametrize("content", [b"", b"no such file", b"\x02" + bytes(7) + b"{}", bytes(100)])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "agent.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{path} (is no safetensors file, .*or copy it again|has no metadata)"):
        import_params(path)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "agent.safetensors"


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_anywhere_is_refused(exported, damaged, part):
    content = exported.read_bytes()
    damaged.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match=f"^{damaged} is no safetensors file, or one that is cut off"):
        import_params(damaged)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(data=st.data(), flip=st.integers(1, 255), in_header=st.booleans())
def test_a_byte_that_is_flipped_anywhere_is_found_or_does_not_matter(
    checkpoint, exported, damaged, data, flip, in_header
):
    content = bytearray(exported.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    first, end = (0, header) if in_header else (header, len(content))
    content[data.draw(st.integers(first, end - 1))] ^= flip
    damaged.write_bytes(content)
    try:
        found = import_params(damaged)
    except CheckpointError as error:
        assert str(error).startswith(str(damaged))
    else:
        assert in_header  # a flip in a tensor is always found
        assert_same(found, checkpoint)


def test_a_path_that_cannot_be_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="agent.bin has the suffix .*, expected .safetensors; name another file"):
        export_params(checkpoint, tmp_path / "agent.bin")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/folder.safetensors: Is a directory; .*name another file"):
        (tmp_path / "folder.safetensors").mkdir()
        export_params(checkpoint, tmp_path / "folder.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/file/a.safetensors: Not a directory"):
        export_params(checkpoint, tmp_path / "file" / "a.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_a_dtype_that_cannot_be_is_refused(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="dtype is 'int8', expected float32 or bfloat16"):
        export_params.__wrapped__(checkpoint, tmp_path / "a.safetensors", dtype="int8")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_leaves_what_was_there(checkpoint, exported, tmp_path):
    path = tmp_path / "agent.safetensors"
    path.write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (exported.stat().st_size // 2, before[1]))
    try:
        with pytest.raises(CheckpointError, match=f"^{path}: .*File too large.*; free space or name another file"):
            export_params(checkpoint, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_with_what_a_killed_export_left(checkpoint, tmp_path):
    path, left = tmp_path / "agent.safetensors", tmp_path / "agent.safetensors.partial"
    path.write_text("before")
    left.mkdir()
    (left / ".tmp4x").write_text("half")
    export_params(checkpoint, path)
    assert_same(import_params(path), checkpoint)
    assert list(tmp_path.iterdir()) == [path]


def test_who_may_read_other_files_may_read_this_one(exported, tmp_path):
    (tmp_path / "other").touch()
    assert exported.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_agent_that_needs_its_image_tokenizer_is_refused(checkpoint, tmp_path, monkeypatch):
    vocabulary = Vocabulary(text=100, bins=60, image_codes=16)
    codes = dataclasses.replace(TINY.tokenization, vocabulary=vocabulary, image_tokenizer="0123456789abcdef")
    agent = made_checkpoint(dataclasses.replace(TINY, tokenization=codes))
    path, said = tmp_path / "a.safetensors", "codes of the image tokenizer 0123456789abcdef, .*use the run's folder"
    with pytest.raises(CheckpointError, match=said):
        export_params(agent, path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(safetensors_format, "require_no_image_tokenizer", lambda contract, path: None)
    export_params(agent, path)
    with pytest.raises(CheckpointError, match=f"^{path}: .*{said}"):
        import_params(path)


def test_an_agent_is_restored_from_a_file_or_from_a_folder(exported, checkpoint, tmp_path):
    assert_same(restore_agent(exported), checkpoint)
    for name, said in (("a.safetensors", "is no file; gato export"), ("run", "; train there first")):
        with pytest.raises(
            CheckpointError, match=f"{tmp_path}/{name}.*{said}|no checkpoints in {tmp_path}/{name}{said}"
        ):
            restore_agent(tmp_path / name)
    (tmp_path / "run.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=f"no checkpoints in {tmp_path}/run.safetensors; train there first"):
        restore_agent(tmp_path / "run.safetensors")

"""Tests of video decoding: exact frames from any position and codec, and detection of damage."""

import gc
import subprocess

import av
import imageio_ffmpeg
import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Continuous, Image, Provenance
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.hdf5.file import decode_video
from gato_jax.sources.reader import EpisodeRejected
from gato_jax.sources.video import episode_frames

RATE, FRAMES = 10.0, 40
# codec -> its options. GOPs of a dozen frames, of which H.264 shows some before those that it decodes first.
CODECS = {
    "libx264": {"g": "12", "bf": "3", "crf": "20"},
    "libsvtav1": {"g": "12", "crf": "30"},
    "mpeg4": {"g": "5", "bf": "2"},
}


def write_video(file, codec: str = "libx264", frames: int = FRAMES):
    """Write a video of a moving bar on a background whose brightness is the number of the frame."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=int(RATE), options=CODECS[codec])
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            picture = np.full((64, 96, 3), 5 * number, np.uint8)
            picture[:, 2 * number : 2 * number + 9, 1] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file


def times(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop) / RATE


def read(file, start: int = 0, stop: int = FRAMES, **settings) -> np.ndarray:
    return np.stack(list(episode_frames(file, times(start, stop), RATE, "here", **settings)))


@pytest.fixture(scope="module", params=CODECS)
def video(request, tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "many.mp4", request.param)


def test_every_part_is_the_same_part_of_the_whole(video):
    with av.open(str(video)) as container:
        whole = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert len(whole) == FRAMES and np.abs(whole[:, 5, -1, 0] - 5.0 * np.arange(FRAMES)).max() < 12
    np.testing.assert_array_equal(read(video, whole=True), whole)
    for start in range(0, FRAMES - 3):
        np.testing.assert_array_equal(read(video, start, start + 3), whole[start : start + 3])


def test_a_frame_counts_within_half_a_period(video):
    shifted = list(episode_frames(video, times(20, 24) + 0.04 * np.array([1, -1, 1, -1]), RATE, "here"))
    np.testing.assert_array_equal(np.stack(shifted), read(video, 20, 24))


def test_frames_are_counted(video):
    with pytest.raises(EpisodeRejected, match="here: many.mp4 has no frame at 4.0000 s for step 2"):
        read(video, FRAMES - 2, FRAMES + 1)
    with pytest.raises(EpisodeRejected, match="has more frames than the 39 steps"):
        read(video, 0, FRAMES - 1, whole=True)
    with pytest.raises(EpisodeRejected, match="no frame at 0.1500 s for step 1"):  # a camera of twice the rate
        list(episode_frames(video, np.array([0.10, 0.15, 0.20]), 2 * RATE, "here"))


def test_a_frame_that_was_dropped_in_recording_is_seen(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", "mpeg4")
    dropped = tmp_path / "dropped.mp4"
    with av.open(str(whole)) as source, av.open(str(dropped), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number != 21 and packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(EpisodeRejected, match="dropped.mp4 (has no frame|cannot be decoded|is damaged)"):
        read(dropped)


def test_a_video_that_is_cut_short_or_none_is_refused(video, tmp_path):
    content = video.read_bytes()
    for size in (0, 30, len(content) // 2, len(content) - 200):
        (tmp_path / "short.mp4").write_bytes(content[:size])
        with pytest.raises(EpisodeRejected, match="here: short.mp4"):
            read(tmp_path / "short.mp4")
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    with pytest.raises(EpisodeRejected, match="text.mp4 cannot be decoded"):
        read(tmp_path / "text.mp4")
    with pytest.raises(EpisodeRejected, match="absent.mp4 cannot be decoded"):
        read(tmp_path / "absent.mp4")


def test_a_flipped_byte_is_refused_or_stays_within_the_picture(video, tmp_path):
    content, random, refused = video.read_bytes(), np.random.default_rng(0), 0
    for position in random.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        (tmp_path / "flipped.mp4").write_bytes(damaged)
        try:
            assert len(read(tmp_path / "flipped.mp4", whole=True)) == FRAMES
        except EpisodeRejected as error:
            assert str(error).startswith("here: flipped.mp4")
            refused += 1
    assert refused >= 10


def test_a_list_of_other_files_is_no_video(video, tmp_path):
    (tmp_path / "other.mp4").write_bytes(video.read_bytes())
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with av.open(str(tmp_path / "list.mp4")) as container:
        assert container.format.name == "concat"  # as FFmpeg finds out by itself
    with pytest.raises(EpisodeRejected, match="list.mp4 cannot be decoded at step 0"):
        list(episode_frames(tmp_path / "list.mp4", np.arange(2) / 10, 10.0, "list"))


def ffmpeg(*arguments):
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True, timeout=60)


@pytest.mark.parametrize(
    "turn",
    [
        ("-display_rotation", "90"),
        ("-display_rotation", "-90"),
        ("-display_rotation", "180"),
        ("-display_hflip",),
        ("-display_vflip",),
        ("-display_rotation", "90", "-display_hflip"),
    ],
)
def test_a_display_matrix_is_honoured_as_by_ffmpeg(turn, tmp_path):
    ffmpeg(*turn, "-i", write_video(tmp_path / "up.mp4", frames=3), "-c", "copy", tmp_path / "turned.mp4")
    ffmpeg("-i", tmp_path / "turned.mp4", "-frames:v", "1", tmp_path / "turned.png")
    expected = np.asarray(PIL.Image.open(tmp_path / "turned.png").convert("RGB")).astype(int)
    for frames in (read(tmp_path / "turned.mp4", 0, 3), [*decode_video(tmp_path / "turned.mp4", "it")]):
        assert frames[0].shape == expected.shape and np.abs(frames[0] - expected).max() <= 3


def test_frames_are_freed_without_a_collection_of_garbage(tmp_path):
    file = write_video(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        assert len(read(file)) == len([*decode_video(file, "it")]) == FRAMES
        kept = sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
    finally:
        gc.enable()
    assert kept <= 2, "one of each video, whose display matrix is read"


def test_any_other_angle_is_refused(tmp_path):
    ffmpeg(
        "-display_rotation", "30", "-i", write_video(tmp_path / "up.mp4", frames=3), "-c", "copy", tmp_path / "t.mp4"
    )
    with pytest.raises(EpisodeRejected, match="t.mp4 cannot be decoded at step 0 .its display matrix is"):
        read(tmp_path / "t.mp4", 0, 3)


@pytest.mark.parametrize("colourspace", ["ITU709", "ITU601"])
@pytest.mark.parametrize("colour_range", ["MPEG", "JPEG"])
def test_the_matrix_and_range_of_colours_are_those_of_the_stream(colourspace, colour_range, tmp_path):
    matrix, extent = av.video.reformatter.Colorspace[colourspace], av.video.reformatter.ColorRange[colour_range]
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:32], picture[32:] = (200, 30, 30), (30, 200, 60)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix.value, extent.value
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=extent)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert np.abs(read(tmp_path / "a.mp4", 0, 2)[:, [8, 56], 40] - np.array([[200, 30, 30], [30, 200, 60]])).max() <= 4


def assemble_video(file, path: str, channels: int):
    """Return the observations of an episode whose camera is a video, read by a path."""
    fields = Fields(
        suite="lab",
        task="see",
        observation={"camera": (path, Image(height=64, width=96, channels=channels))},
        action={"go": ("action", Continuous(shape=(1,), low=-1.0, high=1.0))},
        provenance=Provenance(source="a test", licence="MIT", kind="real"),
    )
    columns = {"video": episode_frames(file, times(0, 3), RATE, "here"), "action": np.zeros(3)}
    return assemble(fields, columns.__getitem__, "here").observation["camera"]


def test_a_video_of_more_than_8_bits_is_refused_or_converted(tmp_path):
    depth = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 10
    with av.open(str(tmp_path / "depth.mp4"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gray16le"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(depth, format="gray16le")))
        container.mux(stream.encode())
    with pytest.raises(EpisodeRejected, match=r"uint16 of shape \(64, 96, 1\), .*depth\(PATH, NEAR, FAR\)"):
        assemble_video(tmp_path / "depth.mp4", "video", 3)
    seen = assemble_video(tmp_path / "depth.mp4", "depth(video, 1000, 50000)", 1)[2, ..., 0]
    np.testing.assert_array_equal(seen[depth > 0], np.rint(255 * np.clip((depth - 1000.0) / 49000, 0, 1))[depth > 0])
    ffmpeg("-i", write_video(tmp_path / "up.mp4", frames=3), "-pix_fmt", "yuv420p10le", tmp_path / "ten.mp4")
    with pytest.raises(EpisodeRejected, match=r"uint16 of shape \(64, 96, 3\), .*scale\(PATH, FACTOR\)"):
        assemble_video(tmp_path / "ten.mp4", "video", 3)
    eight = assemble_video(tmp_path / "ten.mp4", "scale(video, 0.00389105)", 3)
    assert np.abs(eight[0].astype(int) - read(tmp_path / "up.mp4", 0, 1)[0]).mean() < 3

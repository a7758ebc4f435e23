"""Tests of video decoding: exact frames from any position and codec, and detection of damage."""

import av
import numpy as np
import pytest

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

"""Video frames of one episode, from an MP4 file that may hold several episodes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gato_jax.sources.reader import EpisodeRejected
from gato_jax.sources.video_frames import FrameConverter

_MAX_REORDERED_FRAMES = 16  # B-frames are decoded out of order: the seek begins this many frames early
_THREADS = 2  # few, because several processes read episodes at once


def episode_frames(
    file: Path, times: np.ndarray, rate_hz: float, location: str, *, whole: bool = False
) -> Iterator[np.ndarray]:
    """Yield the frame at each of T times of a video, decoded one by one.

    The decoder seeks to the first time once, and then decodes in order. Video formats have few checksums, so a changed
    byte within the image data of a frame may go unnoticed.

    Args:
      file: an MP4 file in any codec that FFmpeg decodes.
      times: times of the frames in seconds from the beginning of the file, (T,) with T > 0, increasing. A frame may be
        off by half a period of `rate_hz`.
      rate_hz: frame rate of the video.
      location: file and number of the episode, the beginning of error messages.
      whole: whether a frame after these T frames is an error. If false, later frames are ignored.

    Yields:
      Frames, (H, W, 3) uint8 RGB, or another type as `FrameConverter` says.

    Raises:
      EpisodeRejected: the file does not exist, cannot be decoded or has no video, has no frame at one of the times, or
        has a later frame although `whole` is true. It may be raised after some frames.
    """
    import av
    from av.error import FFmpegError

    half, number, converter = 0.5 / rate_hz, 0, FrameConverter()
    try:  # The format is fixed: FFmpeg would detect playlist formats, which make it open further files.
        # The path is absolute, because FFmpeg takes what is before a colon in others for a protocol.
        with av.open(os.path.abspath(file), format="mp4", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise EpisodeRejected(location, f"{file.name} holds no video of a known codec")
            stream.codec_context.options = {"err_detect": "explode"}  # otherwise the decoder conceals damage
            stream.codec_context.thread_count = _THREADS
            stream.thread_type = "AUTO"
            ahead = _MAX_REORDERED_FRAMES / rate_hz if stream.codec_context.has_b_frames else 0.0
            container.seek(max(round((times[0] - ahead) / (stream.time_base or 1)), 0), stream=stream)
            for frame in container.decode(stream):
                if number == len(times):
                    raise EpisodeRejected(location, f"{file.name} has more frames than the {number} steps")
                if frame.is_corrupt or frame.time is None:
                    raise EpisodeRejected(location, f"{file.name} is damaged at step {number}")
                if frame.time < times[number] - half:
                    continue
                if frame.time > times[number] + half:
                    break
                yield converter.to_pixels(frame)
                number += 1
                if number == len(times) and not whole:
                    break
    except (FFmpegError, ValueError) as error:
        if isinstance(error, EpisodeRejected):
            raise
        raise EpisodeRejected(location, f"{file.name} cannot be decoded at step {number} ({error})") from None
    if number < len(times):
        raise EpisodeRejected(location, f"{file.name} has no frame at {times[number]:.4f} s for step {number}")

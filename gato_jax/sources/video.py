"""The frames of one episode, out of a video that may hold several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gato_jax.sources.reader import EpisodeRejected

_REORDERED = 16  # frames, at most, that a video is decoded ahead of what it shows
_THREADS = 2  # episodes are read by several processes at once


def episode_frames(
    file: Path, times: np.ndarray, rate_hz: float, where: str, *, whole: bool = False
) -> Iterator[np.ndarray]:
    """The frame that is shown at each of T times: (H, W, 3) uint8, each decoded when it is asked for.

    One seek, then straight on. Formats of video have few checksums: a byte that was changed within the picture of a
    frame may go unseen.

    Args:
      file: an MP4 file, of any codec that FFmpeg decodes.
      times: (T,) seconds within the file, increasing. A frame counts that is within half a period.
      rate_hz: frames a second.
      where: file and number of the episode, to begin a message with.
      whole: whether the file has to hold these T frames and no more.

    Raises:
      EpisodeRejected: the video cannot be decoded, or there is no frame at one of the times, or there are more.
    """
    import av
    from av.error import FFmpegError

    half, number = 0.5 / rate_hz, 0
    try:  # the format is given, for some that FFmpeg would find out name further files to be read
        with av.open(str(file), format="mp4", metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise EpisodeRejected(where, f"{file.name} holds no video of a known codec")
            stream.codec_context.options = {"err_detect": "explode"}  # or damage is painted over
            stream.codec_context.thread_count = _THREADS
            stream.thread_type = "AUTO"
            ahead = _REORDERED / rate_hz if stream.codec_context.has_b_frames else 0.0
            container.seek(max(round((times[0] - ahead) / (stream.time_base or 1)), 0), stream=stream)
            for frame in container.decode(stream):
                if number == len(times):
                    raise EpisodeRejected(where, f"{file.name} has more frames than the {number} steps")
                if frame.is_corrupt or frame.time is None:
                    raise EpisodeRejected(where, f"{file.name} is damaged at step {number}")
                if frame.time < times[number] - half:
                    continue
                if frame.time > times[number] + half:
                    break
                yield frame.to_ndarray(format="rgb24")
                number += 1
                if number == len(times) and not whole:
                    break
    except FFmpegError as error:
        raise EpisodeRejected(where, f"{file.name} cannot be decoded at step {number} ({error})") from None
    if number < len(times):
        raise EpisodeRejected(where, f"{file.name} has no frame at {times[number]:.4f} s, of step {number}")

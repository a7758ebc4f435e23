"""Capture of the text that libraries print on stderr while a command runs, so that its own lines stay readable.

    with captured(descriptor=True) as messages:
        ...
    path = messages.write_log([workdir / "logs", cache_folder() / "logs"], "train")

On a full disk, for example, orbax, tensorstore and asyncio print a dozen tracebacks around the one error that they
raise. During the block, stderr shows progress bars and the lines and log records of gato_jax. All else goes to a file
in memory: warnings and errors that libraries log or print, tracebacks of threads and of code that cannot raise, and,
with `descriptor`, the text of C++ code and of child processes.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import os
import pathlib
import re
import shlex
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

_OURS = {"gato_jax", "tqdm", "__main__"}  # packages whose writes to stderr are shown
_CAPACITY = 1 << 20  # bytes that are kept of the beginning of the text, and again of its end
_POLL_SECONDS = 5.0  # between looks at the size of the text
_RECORD = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# The first line of an error: a record of Python's logging, a traceback, or a fatal message of C++ code.
_ERROR = re.compile(r"^(?:\S+ \S+ (?:ERROR|CRITICAL) .*|Traceback \(most recent call last\):|F\d{4} .*)$", re.MULTILINE)
_FATAL = re.compile(r"^(?:F\d{4} |Fatal Python error|terminate called|.*Check failed: ).*", re.MULTILINE)
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception)\b.*$", re.MULTILINE)  # the last line of a traceback


class LibraryMessages:
    """The text that libraries printed during a block of `captured`.

    Of a text beyond two megabytes, one megabyte of its beginning and at least one of its end are kept.

    Attributes:
      console: the text stream that the user sees.
    """

    def __init__(self, console: Any):
        self.console = console
        # All writers share the position in this file, those in C++ and in other processes too.
        self.descriptor = _open_memory()
        self._lock = threading.Lock()
        self._beginning, self._left_out, self._dropped_error = b"", 0, False

    def write(self, text: str):
        """Add text; never raises an error, as this is the end of a message that nobody else takes."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, text.encode(errors="backslashreplace"))

    def text(self) -> str:
        """Return all that was captured, with a line in place of what was left out."""
        with self._lock:
            end = self._read()
            left_out = f"\n... {self._left_out} bytes are left out here ...\n".encode() if self._left_out else b""
            return (self._beginning + left_out + end).decode(errors="replace")

    def first_error(self) -> str | None:
        """Return the line that names the first error in the text; None if there is none."""
        text = self.text()
        found = _ERROR.search(text)
        if found is None:
            return "an error among messages that were left out" if self._dropped_error else None
        line = found.group()
        if line.startswith("Traceback") and (cause := _EXCEPTION.search(text, found.end())):
            line = cause.group()
        return line.strip()

    def write_log(self, folders: Sequence[pathlib.Path], name: str) -> pathlib.Path | None:
        """Write the text to a new file in the first folder that takes it, and return its path.

        Args:
          folders: folders to try in turn, and after them the one for temporary files. They are made.
          name: beginning of the file's name, which time and process complete.

        Returns:
          None if no folder takes the file, for example because every disk is full.
        """
        now = datetime.datetime.now().astimezone()
        content = f"{now.isoformat(timespec='seconds')} {shlex.join(sys.argv)}\n\n{self.text()}"
        for folder in (*folders, pathlib.Path(tempfile.gettempdir())):
            path = folder / f"{name}-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
                return path
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return None

    def keep_small(self):
        """Drop the middle of a text that has grown too long."""
        with self._lock:
            if os.lseek(self.descriptor, 0, os.SEEK_CUR) < 2 * _CAPACITY:
                return
            content = self._read()
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            os.ftruncate(self.descriptor, 0)
            if not self._beginning:
                self._beginning, content = content[:_CAPACITY], content[_CAPACITY:]
            dropped, end = content[:-_CAPACITY], content[-_CAPACITY:]
            os.write(self.descriptor, end)
            self._left_out += len(dropped)
            self._dropped_error |= _ERROR.search(dropped.decode(errors="replace")) is not None

    def close(self):
        """Release the memory; the text is lost."""
        os.close(self.descriptor)

    def _read(self) -> bytes:
        return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)


@contextlib.contextmanager
def captured(*, descriptor: bool) -> Iterator[LibraryMessages]:
    """Capture what libraries print on stderr during the block. Only one such block may run at a time.

    Records of gato_jax are printed as their message alone, above the progress bars. Without `descriptor`, handlers that
    the root logger has already take them instead.

    Args:
      descriptor: whether to capture file descriptor 2 as well, which belongs to the whole process and its children.
    """
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(_own_descriptor()) if descriptor else sys.stderr
        messages = LibraryMessages(console)
        stack.callback(messages.close)
        if descriptor:
            stack.enter_context(_reporter_of_crash(messages))
            os.dup2(messages.descriptor, 2)
        stream = _Stderr(messages)
        stack.enter_context(contextlib.redirect_stderr(stream))
        stack.callback(stream.release)
        stack.enter_context(_handlers(messages, stream, shown=descriptor or not logging.getLogger().handlers))
        stack.enter_context(_hooks(messages))
        stack.enter_context(_watch_size(messages))
        yield messages


@contextlib.contextmanager
def _own_descriptor() -> Iterator[Any]:
    """Yield a stream to what descriptor 2 is now, and give the descriptor back after the block."""
    sys.stderr.flush()
    console = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    try:
        yield console
    finally:
        console.flush()
        os.dup2(console.fileno(), 2)
        console.close()


@contextlib.contextmanager
def _reporter_of_crash(messages: LibraryMessages) -> Iterator[None]:
    """Keep a child process that shows the last words of C++ code if it ends this process during the block.

    The child is a fork, and has to be made before the process has threads.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()  # signals to the terminal's processes are for the parent
            os.close(writer)
            if not os.read(reader, 1) and (fatal := _FATAL.search(messages.text())):
                messages.console.write(f"\n{messages.text()[fatal.start() :].rstrip()}\n")
                messages.console.flush()
        finally:
            os._exit(0)
    os.close(reader)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a scheduler may have ended the child
            os.write(writer, b".")
        os.close(writer)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


class _Stderr(io.TextIOBase):
    """A stream that shows what gato_jax and its progress bars write, and captures what others write."""

    def __init__(self, messages: LibraryMessages):
        self._messages: LibraryMessages | None = messages
        self._console = messages.console

    def write(self, text: str) -> int:
        if self._messages is None:  # a library has kept the stream beyond the block
            return sys.stderr.write(text) if sys.stderr is not self else len(text)
        if _caller() in _OURS:
            return self._console.write(text)
        self._messages.write(text)
        return len(text)

    def flush(self):
        if self._messages is not None:
            self._console.flush()

    def fileno(self) -> int:
        return self._console.fileno()

    def isatty(self) -> bool:
        return self._messages is not None and self._console.isatty()

    @property
    def encoding(self) -> str:
        return self._console.encoding or "utf-8"

    def release(self):
        """End the capture by this stream."""
        self._messages = None


def _caller() -> str:
    """Return the package of the code that called the caller of this function; empty for C++ code."""
    try:
        return str(sys._getframe(2).f_globals.get("__name__", "")).partition(".")[0]
    except ValueError:
        return ""


class _Shown(logging.Handler):
    """Handler of the records of gato_jax, which prints each on a line of its own, above the progress bars."""

    def __init__(self, stream: Any):
        super().__init__(logging.INFO)
        self._stream = stream
        self.addFilter(_is_ours)

    def emit(self, record: logging.LogRecord):
        try:
            tqdm: Any = sys.modules.get("tqdm")
            if tqdm is None:
                self._stream.write(f"{self.format(record)}\n")
            else:
                tqdm.tqdm.write(self.format(record), file=self._stream)
        except Exception:
            self.handleError(record)


class _Captured(logging.Handler):
    """Handler of the warnings and errors that libraries log."""

    def __init__(self, messages: LibraryMessages):
        super().__init__(logging.WARNING)
        self._messages = messages
        self.setFormatter(logging.Formatter(_RECORD))
        self.addFilter(lambda record: not _is_ours(record))

    def emit(self, record: logging.LogRecord):
        try:
            self._messages.write(f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] in _OURS


@contextlib.contextmanager
def _handlers(messages: LibraryMessages, stream: _Stderr, *, shown: bool) -> Iterator[None]:
    """Log to the capture and, if `shown` is True, to the console during the block."""
    root = logging.getLogger()
    level = root.level
    added: list[logging.Handler] = [_Captured(messages)]
    if shown:
        added.append(_Shown(stream))
        root.setLevel(logging.INFO)
    for handler in added:
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in added:
            root.removeHandler(handler)
        root.setLevel(level)


@contextlib.contextmanager
def _hooks(messages: LibraryMessages) -> Iterator[None]:
    """Capture the tracebacks of exceptions that reach no code that could handle them, during the block."""

    def add(error: BaseException | None, where: str):
        lines = traceback.format_exception(error) if error is not None else ["no exception\n"]
        messages.write(f"{where}:\n{''.join(lines)}")

    before = sys.excepthook, sys.unraisablehook, threading.excepthook
    sys.excepthook = lambda kind, error, trace: add(error, "Exception in C++ code")
    sys.unraisablehook = lambda hook: add(hook.exc_value, hook.err_msg or "Exception ignored")
    threading.excepthook = lambda hook: add(hook.exc_value, f"Exception in {getattr(hook.thread, 'name', 'a thread')}")
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = before


@contextlib.contextmanager
def _watch_size(messages: LibraryMessages) -> Iterator[None]:
    ended = threading.Event()

    def watch():
        while not ended.wait(_POLL_SECONDS):
            messages.keep_small()

    thread = threading.Thread(target=watch, daemon=True, name="library messages")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _open_memory() -> int:
    """Return a descriptor of an empty file in memory, or where that is not possible in the folder for such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("library messages")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

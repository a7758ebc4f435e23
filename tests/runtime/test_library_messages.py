"""What libraries print on stderr is kept for a log; records, progress bars and lines of gato_jax are shown."""

import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from gato_jax.runtime import library_messages
from gato_jax.runtime.library_messages import LibraryMessages, captured

NOISY = """
import gc, logging, os, subprocess, sys, threading, warnings
import tqdm
from gato_jax.runtime.library_messages import captured

class Unraisable:
    def __del__(self):
        raise ValueError("in a destructor")

def library():
    warnings.warn("a warning")
    print("printed", file=sys.stderr)
    thread = threading.Thread(target=lambda: 1 / 0, name="saver")
    thread.start()
    thread.join()
    Unraisable()

with captured(descriptor=True) as messages:
    for step in tqdm.tqdm(range(2), desc="bar"):
        logging.getLogger("gato_jax.training").info("our record %d", step)
    print("our line", file=sys.stderr)
    logging.getLogger("absl").error("logged")
    logging.getLogger("absl").info("too small")
    exec(compile(open(sys.argv[1]).read(), "library.py", "exec"), {"__name__": "orbax.library"})
    os.write(2, b"from C++\\n")
    subprocess.run([sys.executable, "-S", "-c", "import os; os.write(2, b'from a child\\\\n')"])
    print(messages.text())
print("after", file=sys.stderr)
os.write(2, b"C++ after\\n")
"""
LIBRARY = NOISY[NOISY.index("class Unraisable") : NOISY.index("with captured")] + "library()\n"
LIBRARY = "import sys, threading, warnings\n" + LIBRARY


def run(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, timeout=120
    )


def test_a_process_shows_our_lines_and_keeps_those_of_libraries(tmp_path):
    (tmp_path / "library.py").write_text(LIBRARY)
    done = run(NOISY, tmp_path / "library.py")
    shown = [line.strip() for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert done.returncode == 0, done.stderr
    assert [line for line in shown if not line.startswith("bar: ")] == [
        "our record 0", "our record 1", "our line", "after", "C++ after",
    ]  # fmt: skip
    assert any(line.startswith("bar: 100%") for line in shown)
    for text in ("ERROR absl: logged", "UserWarning: a warning", "printed", "from C++", "from a child"):
        assert text in done.stdout
    assert "Exception in saver:\nTraceback" in done.stdout and "ZeroDivisionError: division by zero" in done.stdout
    assert "ValueError: in a destructor" in done.stdout
    assert "our" not in done.stdout and "too small" not in done.stdout


def test_a_crash_in_cpp_shows_its_last_words():
    crash = """
import os
from gato_jax.runtime.library_messages import captured
with captured(descriptor=True):
    os.write(2, b"I0000 noise\\nF0000 00:01 array.cc:1] Check failed: a == b\\n  at array.cc\\n")
    os.abort()
"""
    done = run(crash)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "\nF0000 00:01 array.cc:1] Check failed: a == b\n  at array.cc\n"


def test_within_a_process_streams_hooks_and_handlers_are_put_back(capsys):
    before = sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook, list(logging.getLogger().handlers)
    with pytest.raises(KeyError), captured(descriptor=False) as messages:
        kept = sys.stderr
        logging.getLogger("asyncio").error("logged")
        raise KeyError
    after = sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook, list(logging.getLogger().handlers)
    assert after == before and messages.console is sys.stderr
    kept.write("later\n")  # as a handler of a library may, which kept the stream
    assert capsys.readouterr().err == "later\n"


@pytest.fixture
def messages(capsys):
    with captured(descriptor=False) as opened:
        yield opened


def test_the_first_error_is_named(messages: LibraryMessages):
    messages.write("2026-01-01 00:00:00,000 WARNING absl: small\nE0000 00:01 cuda.cc:1] a library is there twice\n")
    assert messages.first_error() is None
    messages.write("Traceback (most recent call last):\n  File ...\nOSError: [Errno 28] No space left on device\n")
    messages.write("2026-01-01 00:00:00,000 ERROR absl: later\n")
    assert messages.first_error() == "OSError: [Errno 28] No space left on device"


def test_of_a_long_text_beginning_and_end_are_kept(messages: LibraryMessages, monkeypatch):
    monkeypatch.setattr(library_messages, "_CAPACITY", 100)
    messages.write("first\n")
    for number in range(50):
        messages.write(f"2026-01-01 00:00:00,000 ERROR absl: {number:3}\n")
        messages.keep_small()
    text = messages.text()
    assert text.startswith("first\n") and text.endswith("49\n") and "bytes are left out here" in text
    assert len(text) < 400 and " 25\n" not in text


def test_a_log_is_written_where_it_can_be(messages: LibraryMessages, tmp_path, monkeypatch):
    messages.write("content\n")
    (tmp_path / "file").write_text("")
    refused = tmp_path / "file" / "logs"
    path = messages.write_log([refused, tmp_path / "new" / "logs"], "train")
    assert path is not None and path.parent == tmp_path / "new" / "logs" and path.read_text().endswith("\n\ncontent\n")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(refused))
    assert messages.write_log([refused], "train") is None


def test_a_log_that_does_not_fit_on_the_disk_leaves_nothing_behind(messages: LibraryMessages, tmp_path, monkeypatch):
    def cut(path: pathlib.Path, text: str):
        path.touch()
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pathlib.Path, "write_text", cut)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert messages.write_log([tmp_path / "logs"], "train") is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

"""A signal ends a command by an exception, but not in the middle of an import."""

import os
import signal
import sys

import pytest

from gato_jax.runtime.termination import Terminated, terminable

SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), {number})
    time.sleep(0.1)
except BaseException:
    raised = True
else:
    raised = False
"""


@pytest.fixture
def heard():
    """SIGINT is heard, even where these tests ignore it because they run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_within_an_import_is_raised_after_it(number, error, tmp_path, monkeypatch):
    (tmp_path / f"swallows_{number}.py").write_text(SWALLOWS.format(number=int(number)))
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(number)
    with pytest.raises(error) as raised, terminable():
        __import__(f"swallows_{number}")
    assert raised.type is error and not sys.modules[f"swallows_{number}"].raised
    assert signal.getsignal(number) is before


def test_a_signal_elsewhere_is_raised_at_once():
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("nothing was raised")

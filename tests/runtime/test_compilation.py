"""Compiled programs are kept on the disk, and a compilation says how long it took last time."""

import logging
import os
import re

from gato_jax.runtime.compilation import CACHE, announced_compilation, enable_cache


def test_a_compilation_says_how_long_it_took_last_time(own_cache, caplog):
    caplog.set_level(logging.INFO)

    def said(identity) -> str:
        caplog.clear()
        with announced_compilation("training step", identity):
            pass
        first, last = caplog.messages
        assert re.fullmatch(r"compiled the training step in \d+ s", last)
        return first

    assert said({"batch": 8}) == "compiling the training step; it may take minutes"
    assert re.fullmatch(r"compiling the training step; it took \d+ s last time", said({"batch": 8}))
    assert said({"batch": 9}) == "compiling the training step; it may take minutes"
    (own_cache / "compile_seconds.json").write_text("{")
    assert said({"batch": 9}) == "compiling the training step; it may take minutes"


def test_the_cache_of_programs_is_on_unless_another_is_named(own_cache, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")
    monkeypatch.delenv(CACHE, raising=False)
    enable_cache()
    folder = os.environ[CACHE]
    assert folder.startswith(str(own_cache / "compiled"))
    for named in ("/elsewhere", ""):
        monkeypatch.setenv(CACHE, named)
        enable_cache()
        assert os.environ[CACHE] == named

"""A task that is played in a page, by a person at the keyboard, an expert or an agent.

May import everything that `web` may.
"""

from gato_jax.web.play.keeping import next_seed, open_kept
from gato_jax.web.play.keyboard import Keyboard, person
from gato_jax.web.play.page import PlayPage
from gato_jax.web.play.session import PlaySession

__all__ = ["Keyboard", "PlayPage", "PlaySession", "next_seed", "open_kept", "person"]

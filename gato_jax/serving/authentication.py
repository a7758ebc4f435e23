"""The token without which the server answers nothing, and the certificate of the server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pathlib
import secrets
import ssl

from gato_jax.runtime.listening import is_loopback

MIN_TOKEN = 16  # characters


class AccessError(ValueError):
    """A token, certificate or address with which the server would not be safe; the message names the remedy."""


class Token:
    """The secret of the server, of which only a digest is kept.

    Args:
      secret: the token.

    Raises:
      AccessError: The token is short, or has characters that a header cannot hold.
    """

    def __init__(self, secret: str):
        if len(secret) < MIN_TOKEN or not (secret.isascii() and secret.isprintable()) or " " in secret:
            raise AccessError(
                f"the token has {len(secret)} characters, expected {MIN_TOKEN} or more printable ones of ASCII without "
                "blanks. Leave it out, and one is generated."
            )
        self._digest = hashlib.sha256(secret.encode()).digest()

    def allows(self, authorization: str | None) -> bool:
        """Return whether a header `Authorization` holds the token.

        The schemes are Bearer, Api-Key (of openpi's client), and Basic with any user name (of an address such as
        `ws://robot:TOKEN@host`). Digests of equal length are compared in constant time, so the time of an answer tells
        neither how many characters are right nor how long the token is.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                secret = base64.b64decode(secret, validate=True).decode().partition(":")[2]
            except ValueError:
                secret = ""
        known = scheme.lower() in ("bearer", "api-key", "basic")
        given = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, self._digest) and known


def generate_token() -> str:
    """Return a new token of 256 random bits."""
    return secrets.token_urlsafe(32)


def require_safe(host: str, token: Token | None):
    """Raise an error if other machines can reach the server and there is no token.

    Raises:
      AccessError: So it is.
    """
    if token is None and not is_loopback(host):
        raise AccessError(
            f"the server would have no token: its host is {host}, expected 127.0.0.1 or ::1 without a token. Give a "
            "token, or listen on this machine alone."
        )


def read_certificate(certificate: pathlib.Path, key: pathlib.Path) -> ssl.SSLContext:
    """Return the settings of TLS with the certificate and the private key in two PEM files.

    Raises:
      AccessError: A file is missing, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise AccessError(
            f"cannot read the certificate: {certificate} and {key} give {error}. Name a PEM file of the certificate "
            "and one of its private key, without a password."
        ) from None
    return context

"""An image and a certificate as clients have them."""

import datetime
import io
import pathlib

import numpy as np
from PIL import Image


def png_fields(pixels: np.ndarray) -> dict:
    """An image as vla-eval's client sends it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return {"__image__": True, "format": "png", "data": file.getvalue(), "shape": list(pixels.shape)}


def made_certificate(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The files of a certificate that its own key has signed, and of the key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    begin = datetime.datetime(2020, 1, 1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + datetime.timedelta(36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[0].write_bytes(certificate.public_bytes(encoding))
    files[1].write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    return files

"""Small image files, and image files signed with C2PA."""

import datetime
import io

import c2pa
import numpy as np
import PIL.Image
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def pixels(number: int, mode: str = "RGB") -> np.ndarray:
    """Return an image of one colour, (32, 48, ...) uint8; JPEG changes it by at most 3."""
    colour = {"RGB": (5 * number % 250, 100, 200), "L": 5 * number % 250, "RGBA": (5 * number % 250, 100, 200, 0)}[mode]
    return np.asarray(PIL.Image.new(mode, (48, 32), colour))


def encode(image: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, kind)
    return file.getvalue()


def _certified(name: str, key, issuer: str, issuer_key, is_authority: bool) -> str:
    """Return a certificate in PEM with the extensions that C2PA requires."""

    def named(common: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A test")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    unused = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **unused)
    made = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), 7, now - day, now + day)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_authority:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sign(image: bytes, mime: str) -> bytes:
    """Return the image file with a signed manifest that names a camera."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = _certified("leaf", leaf, "root", root, False) + _certified("root", root, "root", root, True)
    private = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain.encode(), private, None)
    capture = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": capture}]}
    manifest = {
        "claim_generator_info": [{"name": "a camera", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": actions}],
    }
    signed = io.BytesIO()
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest) as builder:
        builder.sign(signer, mime, io.BytesIO(image), signed)
    return signed.getvalue()

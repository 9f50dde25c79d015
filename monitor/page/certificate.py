"""A certificate of our own, for the home network: a browser asks about it once, then all is encrypted.

Rule: made once and kept beside the data, mode 0600; made anew where it has ended or lacks a name of this computer.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CERTIFICATE, _KEY = "page.crt", "page.key"
_LASTS = timedelta(days=390)
"""Phones accept none that lasts longer than 398 days."""
_LEFT = timedelta(days=30)


def made(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """The files of certificate and key of a data folder, for these names and addresses."""
    certificate, key = folder / _CERTIFICATE, folder / _KEY
    wanted = [_named(name) for name in names]
    if not (key.exists() and _is_good(certificate, wanted)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(certificate, key, wanted)
    return certificate, key


def _named(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _is_good(certificate: Path, wanted: list[x509.GeneralName]) -> bool:
    try:
        known = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return known.not_valid_after_utc > datetime.now(UTC) + _LEFT and set(wanted) <= set(names)


def _make(certificate: Path, key: Path, names: list[x509.GeneralName]) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    us = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fasciwatch on this computer")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(us)
        .issuer_name(us)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    _write(key, secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    _write(certificate, signed.public_bytes(pem))


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

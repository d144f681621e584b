"""What servers and clients trust each other by: signed tokens, and a certificate authority."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from pathlib import Path


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Signer:
    """Signs tokens that a server with its public key believes."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    def write_public_key(self, path: Path) -> None:
        """Write what the server needs to check a token."""
        public = self._key.public_key()
        path.write_bytes(
            public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def token(self, access: str = "rw", *, seconds: float = 3600) -> str:
        """Return a token that allows ``"rw"`` or ``"ro"`` for so long; a past time has expired."""
        claims: dict[str, Any] = {"a": access, "exp": int(time.time() + seconds)}
        head = _base64(json.dumps({"alg": "EdDSA", "typ": "JWT"}).encode())
        signed = head + b"." + _base64(json.dumps(claims).encode())
        return (signed + b"." + _base64(self._key.sign(signed))).decode()


class Authority:
    """A certificate authority of one's own, with a certificate for 127.0.0.1 and localhost.

    Attributes:
        path: Its certificate, to be trusted by ``SSL_CERT_FILE``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "authority.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aiolibsql tests")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        known_by = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = _certificate(name, name, key).add_extension(basic, critical=True)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(known_by, critical=False)
        authority = builder.sign(key, hashes.SHA256())
        self.path.write_bytes(authority.public_bytes(serialization.Encoding.PEM))

        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server")])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), address])
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = _certificate(subject, name, own).add_extension(names, critical=False)
        builder = builder.add_extension(signed_by, critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        chain = folder / "server.pem"
        chain.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.timezone.utc)
    day = dt.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )

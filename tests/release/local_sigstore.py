"""A Sigstore of one's own, in this process: a certificate authority, its log of certificates, and a log of
signatures, each with a key. What it signs is verified by the real library against its trust configuration.

https://docs.sigstore.dev/about/security/ says what each is for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from sigstore._internal.rekor.client import RekorClient
from sigstore.models import ClientTrustConfig, TransparencyLogEntry
from sigstore.sign import SigningContext

IDENTITY = "https://github.com/o/r/.github/workflows/compliance.yml@refs/heads/main"
ISSUER = "https://token.actions.githubusercontent.com"
SCTS, ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _octets(data: bytes) -> bytes:
    """A DER octet string."""
    size = len(data)
    return b"\x04" + (bytes([size]) if size < 128 else bytes([0x81, size])) + data


class Sigstore:
    def __init__(self, identity: str = IDENTITY, issuer: str = ISSUER) -> None:
        self.identity, self.issuer = identity, issuer
        self.ca, self.ct, self.rekor = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.start = datetime.now(UTC) - timedelta(minutes=1)
        self.root = self._root()
        self.signing_cert, self.root_json = self, self.trust_config()

    # Trust

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local")])
        usage = x509.KeyUsage(*(number == 5 for number in range(9)))  # keyCertSign
        return (
            x509.CertificateBuilder(name, name, self.ca.public_key(), x509.random_serial_number())
            .not_valid_before(self.start - timedelta(days=1))
            .not_valid_after(self.start + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.ca.public_key()), critical=False)
            .sign(self.ca, hashes.SHA256())
        )

    def _log(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        public = {
            "rawBytes": _text(_der(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": (self.start - timedelta(days=1)).isoformat()},
        }
        return {
            "baseUrl": "https://log.invalid",
            "hashAlgorithm": "SHA2_256",
            "publicKey": public,
            "logId": {"keyId": _text(hashlib.sha256(_der(key)).digest())},
        }

    def trust_config(self) -> str:
        authority = {
            "subject": {"organization": "local", "commonName": "local"},
            "uri": "https://ca.invalid",
            "certChain": {"certificates": [{"rawBytes": _text(self.root.public_bytes(Encoding.DER))}]},
            "validFor": {"start": (self.start - timedelta(days=1)).isoformat()},
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": {
                    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                    "tlogs": [self._log(self.rekor)],
                    "certificateAuthorities": [authority],
                    "ctlogs": [self._log(self.ct)],
                    "timestampAuthorities": [],
                },
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [],
                    "oidcUrls": [],
                    "rekorTlogUrls": [],
                    "rekorTlogConfig": {"selector": "ANY"},
                    "tsaUrls": [],
                    "tsaConfig": {"selector": "ANY"},
                },
            }
        )

    def context(self, config: ClientTrustConfig) -> SigningContext:
        """What signs: this object is both the authority and the log."""
        return SigningContext(fulcio=self, rekor=self, trusted_root=config.trusted_root)  # type: ignore[arg-type]

    # The authority, and the log of its certificates

    def post(self, request: x509.CertificateSigningRequest, _: object) -> SimpleNamespace:
        """A certificate for the identity, with the certificate log's word that it is logged."""
        now = datetime.now(UTC).replace(microsecond=0)
        usage = x509.KeyUsage(*(number == 0 for number in range(9)))  # digitalSignature
        builder = (
            x509.CertificateBuilder(self.root.subject, x509.Name([]), request.public_key(), 7)
            .not_valid_before(now - timedelta(seconds=30))
            .not_valid_after(now + timedelta(minutes=10))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.identity)]), critical=True
            )
            .add_extension(x509.UnrecognizedExtension(ISSUER_V1, self.issuer.encode()), critical=False)
        )
        body = builder.sign(self.ca, hashes.SHA256()).tbs_certificate_bytes
        at = struct.pack("!Q", int(time.time() * 1000))
        issuer = hashlib.sha256(_der(self.ca)).digest()
        told = b"\0\0" + at + b"\0\1" + issuer + struct.pack("!I", len(body))[1:] + body + b"\0\0"
        signature = self.ct.sign(told, ec.ECDSA(hashes.SHA256()))
        sct = b"\0" + hashlib.sha256(_der(self.ct)).digest() + at + b"\0\0\4\3"
        sct += struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        final = builder.add_extension(x509.UnrecognizedExtension(SCTS, _octets(listed)), critical=False)
        return SimpleNamespace(cert=final.sign(self.ca, hashes.SHA256()), chain=[self.root])

    # The log of signatures: it has one entry

    _build_dsse_request = RekorClient._build_dsse_request

    def create_entry(self, request: Any) -> TransparencyLogEntry:
        proposed = request["spec"]["proposedContent"]
        envelope = json.loads(proposed["envelope"])
        payload = base64.b64decode(envelope["payload"])
        hashed = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
        signatures = [
            {"signature": one["sig"], "verifier": proposed["verifiers"][0]} for one in envelope["signatures"]
        ]
        spec = {"envelopeHash": hashed, "payloadHash": hashed, "signatures": signatures}
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        root = hashlib.sha256(b"\0" + body).digest()
        log = hashlib.sha256(_der(self.rekor)).digest()
        note = f"log.invalid\n1\n{_text(root)}\n"
        sealed = _text(log[:4] + self._sign(note.encode()))
        entry = {"body": _text(body), "integratedTime": int(time.time()), "logIndex": 0, "logID": log.hex()}
        verification = {
            "signedEntryTimestamp": _text(self._sign(rfc8785.dumps(entry))),
            "inclusionProof": {
                "logIndex": 0,
                "treeSize": 1,
                "hashes": [],
                "rootHash": root.hex(),
                "checkpoint": f"{note}\n— log.invalid {sealed}\n",
            },
        }
        return TransparencyLogEntry._from_v1_response({"0": {**entry, "verification": verification}})

    def _sign(self, data: bytes) -> bytes:
        return self.rekor.sign(data, ec.ECDSA(hashes.SHA256()))


def token(issuer: str = ISSUER) -> str:
    """An OIDC token, which nobody here verifies but for its claims."""
    now = int(time.time())
    claims = {"aud": "sigstore", "sub": "repo:o/r", "iat": now, "exp": now + 600, "iss": issuer}
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*encoded, base64.urlsafe_b64encode(b"x").decode().rstrip("=")))

"""Signatures of attestations: by an ed25519 key in PEM, or keyless by Sigstore.

With a key, the file is a DSSE envelope (https://github.com/secure-systems-lab/dsse). Keyless, it is a
Sigstore bundle (https://docs.sigstore.dev/about/bundle/): Fulcio certifies the signer's OIDC identity for ten
minutes, and Rekor, a public log, records that it signed within them. So there is no key to keep.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

import msgspec

from compliance.json_data import JSON
from compliance.model import InputError
from compliance.template.source import converted, read_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from sigstore.models import ClientTrustConfig

PAYLOAD: Final = "application/vnd.in-toto+json"
TOOL: Final = "cdk-compliance-gate"
T = TypeVar("T")

Named = Annotated[str, msgspec.Meta(min_length=1)]


class RefusedError(Exception):
    """A verdict that can't be attested, or an attestation that does not hold here and now. Exit code 1."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file. Unknown fields are refused, since their meaning is not known."""


class _Signature(Part, frozen=True):
    sig: Named
    keyid: str = ""


class _Envelope(Part, frozen=True):
    payload: Named
    payload_type: Literal["application/vnd.in-toto+json"] = msgspec.field(name="payloadType")
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1)]


class Signer(msgspec.Struct, frozen=True):
    """Who signs, or must have signed: the holder of a key, or an OIDC identity.

    `key` is a file (PEM): the private key to sign, the public one to verify. `identity` and `issuer` are what
    the certificate of a Sigstore bundle must name, as for `sigstore verify identity`. To sign, the identity
    comes from the environment, such as a GitHub Actions job with `id-token: write`. `trust_config` is a file
    for a private Sigstore; None: the public one.
    """

    key: Path | None = None
    keyless: bool = False
    identity: str | None = None
    issuer: str | None = None
    trust_config: Path | None = None

    def check(self) -> None:
        """Raises InputError where it can't sign, so that this is reported before the work."""
        if self.key:
            _private_key(self.key)
        elif self.keyless:
            _identity_token()

    def sign(self, payload: bytes) -> JSON:
        """The envelope or the bundle around a payload, as JSON data. Raises InputError."""
        return _envelope(payload, self.key) if self.key else _bundle(payload, self.trust_config)

    def __str__(self) -> str:
        if self.keyless:
            return f"signed by {self.identity} ({self.issuer})"
        return f"signed by the key of {self.key}" if self.key else "not signed"


def opened(data: JSON, path: Path, signer: Signer) -> JSON:
    """The statement in an attestation's file, as JSON data, after its signature is verified.

    Raises InputError where the file or the key is not valid. Raises RefusedError where somebody else signed
    the file; where it is not signed, and `signer` wants a signature; and where it is signed, and `signer`
    wants none, since a signature that is not verified proves nothing.
    """
    keys = data.keys() if isinstance(data, dict) else ()
    if "dsseEnvelope" in keys:
        if not signer.keyless:
            raise RefusedError(
                f"{path}: is signed keyless; --cert-identity and --cert-oidc-issuer say whom to believe"
            )
        payload = _verified_bundle(data, path, signer)
    elif "payload" in keys:
        if signer.key is None:
            raise RefusedError(f"{path}: is signed; --public-key says whose signature to believe")
        envelope = part(data, _Envelope, path)
        payload = _bytes(envelope.payload, path, "payload")
        _verify(envelope, payload, signer.key, path)
    elif signer.key or signer.keyless:
        raise RefusedError(f"{path}: is not signed")
    else:
        return data
    try:
        # The signer wrote these bytes, so they have no duplicate keys.
        statement: JSON = json.loads(payload)
        return statement
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no attestation: payload: {error}") from None


def part(data: JSON, type_: type[T], path: Path) -> T:
    """JSON data as a part of an attestation. Raises InputError, which names file and field."""
    try:
        return converted(data, type_)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: no attestation: {error}") from None


# By a key


def key_id(key: Ed25519PublicKey) -> str:
    """A key's id in an envelope: the sha256 (hex) of its DER form."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _envelope(payload: bytes, key: Path) -> dict[str, JSON]:
    signer = _private_key(key)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD,
        "signatures": [
            {
                "keyid": key_id(signer.public_key()),
                "sig": base64.b64encode(signer.sign(_signed(payload))).decode(),
            }
        ],
    }


def _signed(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, which is what is signed."""
    type_ = PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(type_), type_, len(payload), payload)


def _verify(envelope: _Envelope, payload: bytes, path_of_key: Path, path: Path) -> None:
    key = _public_key(path_of_key)  # before the import: it reports what to install
    from cryptography.exceptions import InvalidSignature

    for signature in envelope.signatures:
        try:
            key.verify(_bytes(signature.sig, path, "sig"), _signed(payload))
        except InvalidSignature:
            continue
        return
    raise RefusedError(f"{path}: is not signed by the key of {path_of_key}, or was changed since")


def _bytes(text: str, path: Path, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{path}: no attestation: {field} is no base64") from None


def _private_key(path: Path) -> Ed25519PrivateKey:
    _check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_text(path).encode(), password=None)
    except InputError:
        raise
    except TypeError:
        raise InputError(f"{path}: the key is encrypted; give one that is not, from a secret store") from None
    except Exception:
        raise InputError(f"{path}: no private key in PEM (openssl genpkey -algorithm ed25519)") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: the key is not of ed25519")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    _check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_text(path).encode())
    except InputError:
        raise
    except Exception:
        raise InputError(f"{path}: no public key in PEM (openssl pkey -in KEY -pubout)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: the key is not of ed25519")
    return key


def _check_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise InputError(f"signatures need cryptography: pip install '{TOOL}[sign]'") from None


# Keyless


def _bundle(payload: bytes, trust_config: Path | None) -> JSON:
    token = _identity_token()
    from sigstore.dsse import Statement
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    try:
        context = SigningContext.from_trust_config(_trust(trust_config))
        with context.signer(IdentityToken(token)) as signer:
            bundle: JSON = json.loads(signer.sign_dsse(Statement(payload)).to_json())
            return bundle
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"Sigstore did not sign: {type(error).__name__}: {error}") from None


def _verified_bundle(data: JSON, path: Path, signer: Signer) -> bytes:
    _check_sigstore()
    from sigstore.errors import Error
    from sigstore.models import Bundle
    from sigstore.verify import Verifier
    from sigstore.verify.policy import Identity

    verifier = Verifier(trusted_root=_trust(signer.trust_config).trusted_root)
    try:
        bundle = Bundle.from_json(json.dumps(data))
        policy = Identity(identity=signer.identity or "", issuer=signer.issuer)
        type_, payload = verifier.verify_dsse(bundle, policy)
    except (Error, ValueError) as error:
        why = " ".join(str(error).split())
        raise RefusedError(
            f"{path}: is not signed by {signer.identity}, or was changed since: {why}"
        ) from None
    if type_ != PAYLOAD:
        raise InputError(f"{path}: no attestation: payloadType is {type_}")
    return payload


def _trust(path: Path | None) -> ClientTrustConfig:
    """The trusted certificates and log. Those of the public Sigstore are downloaded and kept by TUF."""
    from sigstore.models import ClientTrustConfig

    try:
        return ClientTrustConfig.from_json(read_text(path)) if path else ClientTrustConfig.production()
    except InputError:
        raise
    except Exception as error:
        what = str(path) if path else "the public Sigstore"
        raise InputError(f"{what}: no trust configuration: {type(error).__name__}") from None


def _identity_token() -> str:
    _check_sigstore()
    from sigstore.oidc import detect_credential

    try:
        token = detect_credential()
    except Exception as error:
        raise InputError(f"--keyless: no OIDC identity: {error}") from None
    if token is None:
        raise InputError("--keyless: no OIDC identity here (GitHub Actions: permissions: id-token: write)")
    return token


def _check_sigstore() -> None:
    try:
        import sigstore  # noqa: F401
    except ImportError:
        raise InputError(f"keyless signatures need sigstore: pip install '{TOOL}[sigstore]'") from None

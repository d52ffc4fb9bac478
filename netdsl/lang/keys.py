"""Keys of 32 bytes: their text, the public key of a private one (X25519, RFC 7748), what may be told of a shared one.

A key itself goes from its file to the kernel and nowhere else: what a plan compares and a state records is its proof.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

try:  # as in lang/naming.py
    from _blake2 import blake2s
except ImportError:
    from hashlib import blake2s

SIZE = 32
"""Bytes of a key."""
_TEXT = 44
"""Characters of one in base64."""
_PRIME = 2**255 - 19
_A24 = 121665


def parse(text: str) -> bytes:
    """A key from its base64. Raises ValueError, which does not repeat the text: it may be a secret."""
    try:
        key = a2b_base64(text.encode(), strict_mode=True)
    except (Error, UnicodeError):
        key = b""
    if len(key) != SIZE or spell(key) != text:
        raise ValueError(f"must be {SIZE} bytes in base64, {_TEXT} characters with one = at the end")
    return key


def spell(key: bytes) -> str:
    """A key in base64."""
    return b2a_base64(key, newline=False).decode()


def proof(key: bytes, peer: str = "") -> str:
    """What may be told of a key: of a private one its public key, of one that is shared with a peer a fingerprint.

    The fingerprint has 64 bits of a hash that is keyed with the peer's public key: far fewer than the key, so that no
    computation leads back from it to a key that was drawn at random.

    >>> proof(bytes(32), spell(bytes(32)))
    '0d872aea7f9b96e7'
    """
    if peer:
        return blake2s(key, key=parse(peer), digest_size=8, person=b"netdsl").hexdigest()
    return spell(x25519(key))


def x25519(scalar: bytes, u: int = 9) -> bytes:
    """Multiply a point of Curve25519, by its u-coordinate, by a scalar (RFC 7748, section 5); 9 is the base point.

    A run takes a millisecond or so, which depends a little on the scalar.
    """
    k = int.from_bytes(scalar, "little") & ~7 & ~(1 << 255) | 1 << 254
    x1 = u % _PRIME
    x2, z2, x3, z3 = 1, 0, x1, 1
    swapped = 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swapped ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _PRIME, b * b % _PRIME, d * a % _PRIME, c * b % _PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, x1 * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + _A24 * e) % _PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(SIZE, "little")

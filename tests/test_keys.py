"""Keys: the arithmetic of X25519, what is told of a key, and the files that keys are in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netdsl.kernel import keys as files
from netdsl.lang import keys
from netdsl.lang.ops import KeyFile

KEY = bytes(range(1, 33))

VECTORS = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
]
"""Scalar, u-coordinate and product (RFC 7748, section 5.2)."""


def coordinate(text: str) -> int:
    """A u-coordinate, of which the highest bit does not count."""
    return int.from_bytes(bytes.fromhex(text), "little") & ~(1 << 255)


@pytest.mark.parametrize(("scalar", "u", "product"), VECTORS)
def test_products(scalar: str, u: str, product: str) -> None:
    """The two products of RFC 7748 come out."""
    assert keys.x25519(bytes.fromhex(scalar), coordinate(u)).hex() == product


def test_many_products() -> None:
    """A thousand products, each made from those before it, end where RFC 7748 says."""
    k = u = bytes([9, *bytes(31)])
    for step in range(1000):
        k, u = keys.x25519(k, coordinate(u.hex())), k
        if step == 0:
            assert k.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert k.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
"""RFC 7748, section 6.1."""


def test_public_keys() -> None:
    """Alice's and Bob's public keys, and what they then share, are those of RFC 7748."""
    alice, bob = bytes.fromhex(ALICE), bytes.fromhex(BOB)
    assert keys.parse(keys.proof(alice)).hex() == ALICE_PUBLIC
    assert keys.parse(keys.proof(bob)).hex() == BOB_PUBLIC
    assert keys.x25519(alice, coordinate(BOB_PUBLIC)).hex() == SHARED
    assert keys.x25519(bob, coordinate(ALICE_PUBLIC)).hex() == SHARED


def test_fingerprints() -> None:
    """A fingerprint tells keys apart and is another one for each peer; it has fewer bits than could lead to the key."""
    one, other = keys.spell(bytes(32)), keys.spell(KEY)
    found = {keys.proof(key, peer) for key in (KEY, KEY[::-1]) for peer in (one, other)}
    assert len(found) == 4
    assert {len(bytes.fromhex(text)) for text in found} == {8}


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", keys.spell(KEY)[:-1], keys.spell(KEY) + "=", keys.spell(KEY[:31]), keys.spell(KEY + b"!"), "å" * 44),
        *(keys.spell(KEY)[:-2] + "B=", keys.spell(KEY).replace("A", " "), keys.spell(KEY) + "\n", "-" * 43 + "="),
    ],
)
def test_what_is_no_key(text: str) -> None:
    """Only 44 characters that stand for 32 bytes in the one way of base64 are a key; the error does not repeat them."""
    with pytest.raises(ValueError, match="must be 32 bytes in base64") as caught:
        keys.parse(text)
    assert not text or text not in str(caught.value)


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a key, for its owner."""
    path = tmp_path / "a.key"
    path.write_text(f"{keys.spell(KEY)}\n")
    path.chmod(0o600)
    return path


def refused(path: Path) -> tuple[str, str]:
    """Why a file is not read as a key, and what to do."""
    with pytest.raises(ValueError) as caught:
        files.read(str(path))
    what, fix = caught.value.args
    assert keys.spell(KEY)[:20] not in what + fix
    return what, fix


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_for_its_owner_is_read(file: Path, mode: int) -> None:
    """A key is read from a file that its owner and at most a group may read, also by way of a symbolic link."""
    file.chmod(mode)
    assert files.read(str(file)) == KEY
    (file.parent / "link").symlink_to(file)
    assert files.read(str(file.parent / "link")) == KEY


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601, 0o620, 0o660, 0o666, 0o777])
def test_a_file_that_others_have_access_to_is_refused(file: Path, mode: int) -> None:
    """A key that others may read or write, or a group may write, is not taken; the error says the mode."""
    file.chmod(mode)
    what, fix = refused(file)
    assert f"{file} has mode {mode:04o}" in what
    assert fix == f"chmod 600 {file}"


def spoil(content: bytes) -> Callable[[Path], object]:
    """Another content."""
    return lambda path: path.write_bytes(content)


def replace(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in the file's place."""
    return lambda path: (path.unlink(), make(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Path.unlink, "cannot be read: No such file or directory"),
        (replace(Path.mkdir), "is no file"),
        (replace(os.mkfifo), "is no file"),
        (replace(lambda path: path.symlink_to(path)), "cannot be read: Too many levels of symbolic links"),
        (spoil(b""), "holds no key"),
        (spoil(b"\xff\0"), "holds no key"),
        (spoil(keys.spell(KEY).encode()[:-1]), "holds no key"),
        (spoil(keys.spell(KEY).encode() * 2), "holds no key"),
        (spoil(KEY), "holds no key"),
        (spoil(keys.spell(KEY).encode() + b"#" * 5000), "holds no key"),
    ],
)
def test_files_that_hold_no_key(file: Path, change: Callable[[Path], object], words: str) -> None:
    """What is no file with a key is refused with the reason, and nothing of what is in it is repeated."""
    change(file)
    what, _ = refused(file)
    assert what.startswith(f"{file} {words}")


def test_a_key_that_was_changed_since_the_plan(file: Path) -> None:
    """A key is given out only as long as it is the one that was planned."""
    public = keys.proof(KEY)
    assert files.expected(KeyFile(str(file), public)) == KEY
    assert files.expected(KeyFile(str(file), keys.proof(KEY, public), public)) == KEY
    file.write_text(keys.spell(KEY[::-1]))
    for wanted in (KeyFile(str(file), public), KeyFile(str(file), keys.proof(KEY, public), public)):
        with pytest.raises(ValueError, match="holds another key than the one that was planned"):
            files.expected(wanted)

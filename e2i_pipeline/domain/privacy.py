"""Keyed pseudonyms, and which columns must not even have one: what identifies a person by itself.

An identifier becomes an HMAC-SHA256 of itself, in Python and, the same, inside the engine.

The key never stands in SQL: a caller puts its two pads into the temporary table `PADS` by bound parameters, and the
expression refers to them. Where the key comes from and who may read it is decided elsewhere.
"""

import hashlib
import hmac
import re

from e2i_pipeline.contracts.identifiers import DIRECT_NAMES, WHAT, WHOSE

DIGITS = 32
"""Hexadecimal digits of a pseudonym: 128 bits, so that a collision among 10^12 identifiers has a chance of 10^-15."""

PADS = "e2i_pads"
"""Temporary table with one row, `ipad BLOB, opad BLOB`, that `pseudonym_sql` refers to."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SHAPE = f"[0-9a-f]{{{DIGITS}}}"
_BLOCK = 64  # bytes that SHA-256 takes in at once: the B of RFC 2104


def pseudonym(key: bytes, namespace: str, identifier: str | None) -> str | None:
    """The pseudonym of one identifier.

    Args:
        key: The secret key, any length above 0.
        namespace: The kind of thing that is named (`patient`, `hcp`, ...): equal identifiers of two kinds differ.
        identifier: The source's own identifier; None and blank text name nobody.

    Returns:
        32 hexadecimal digits, or None where nobody is named.
    """
    if identifier is None or not identifier.replace(" ", ""):
        return None
    return hmac.new(key, f"{namespace}:{identifier}".encode(), hashlib.sha256).hexdigest()[:DIGITS]


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and the outer pad of HMAC-SHA256 (RFC 2104, section 2), 64 bytes each.

    They are as secret as the key.

    Args:
        key: The secret key; one above 64 bytes is hashed first, as the RFC says.

    Returns:
        `(ipad, opad)`.
    """
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def pseudonym_sql(expression: str, namespace: str) -> str:
    """`pseudonym` as a DuckDB expression, over the pads in the table `PADS`.

    Args:
        expression: SQL expression of type VARCHAR.
        namespace: As in `pseudonym`; lower-case letters only, since it becomes SQL text.

    Returns:
        An expression that yields the same 32 digits, and NULL for NULL and for blank text.

    Raises:
        ValueError: The namespace is not a plain word.
    """
    if not (namespace.isascii() and namespace.isalpha()):
        raise ValueError(f"{namespace!r} is not a namespace: letters only")
    message = f"CASE WHEN replace({expression}, ' ', '') <> '' THEN encode('{namespace}:' || {expression}) END"
    inner = f"unhex(sha256((SELECT ipad FROM {PADS}) || ({message})))"
    return f"left(sha256((SELECT opad FROM {PADS}) || {inner}), {DIGITS})"


def is_pseudonym(text: str) -> bool:
    """Whether a text has the shape of a pseudonym; what has not is a value of the source."""
    return re.fullmatch(_SHAPE, text) is not None


def is_pseudonym_sql(expression: str) -> str:
    """`is_pseudonym` as a DuckDB expression; null for a null."""
    return f"regexp_full_match({expression}, '{_SHAPE}')"


def key_id(key: bytes) -> str:
    """Names a key without giving it away: 16 hexadecimal digits that change when the key does."""
    return hmac.new(key, b"e2i key id", hashlib.sha256).hexdigest()[:16]


def direct_kind(column: str) -> str:
    """What a column holds that identifies a person by itself, by the column's name; empty where nothing does.

    Case and separators do not count (`E-Mail`, `firstName`, `DATE_OF_BIRTH`), nor words before the name that say whose
    it is or behind it that say in which form (`patient_email`, `home_phone_number`). What merely speaks of such a thing
    is no such column (`email_open`, `phone_calls`, `drug_name`). Content is not looked at.

    Args:
        column: Its name.

    Returns:
        A kind of `contracts.identifiers.DIRECT_NAMES`, e.g. `e-mail`.
    """
    words = [word.lower() for word in _WORD.findall(column)]
    for begin in range(len(words)):
        for end in range(len(words), begin, -1):
            if kind := _KINDS.get("".join(words[begin:end])):
                return kind
            if words[end - 1] not in WHAT:
                break
        if words[begin] not in WHOSE:
            break
    return ""


_KINDS = {name: kind for kind, names in DIRECT_NAMES.items() for name in names}

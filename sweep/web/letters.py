"""Where a text in UTF-8 may be cut."""

LONGEST = 4
"""Bytes of a letter, at most: a part of fewer might never be whole."""


def whole_letters(part: bytes) -> bytes:
    """A part of a text that was cut anywhere, without the beginning of a letter at its end.

    What is no UTF-8 is left as it is.
    """
    for kept in range(1, min(LONGEST, len(part)) + 1):
        byte = part[-kept]
        if byte & 0xC0 == 0x80:  # within a letter
            continue
        length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return part[:-kept] if length > kept and kept < len(part) else part
    return part

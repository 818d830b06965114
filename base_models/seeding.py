"""Seeds as pure functions of what they are for, so that no draw depends on what was drawn before."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a seed that is a function of the parts only, such as (seed, member, fold, epoch, index).

    The same parts give the same seed in every process and after every resumption; different parts give
    unrelated seeds.

    Returns:
        An integer, 0 ≤ seed < 2⁶³.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

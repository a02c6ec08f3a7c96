"""What counters are called: every group of events has a tag, and its bucket says on which node of a cluster it is."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence

# Keys are spread over a cluster's nodes by bucket. Whatever is narrower than its bucket is in the same place as it.
BUCKETS = 256
BUCKETED_BY = {
    name: place
    for place, name in enumerate(
        (
            "user_id",
            "account_id",
            "counterparty_account_id",
            "card_id",
            "device_id",
            "ip_address",
            "merchant_id",
        )
    )
}

_READABLE = re.compile(r"[A-Za-z0-9_.:@|=+/-]{1,80}")


def bucket_of(identity: str) -> int:
    """The bucket of everything that is kept under this value."""
    return zlib.crc32(identity.encode()) % BUCKETS


def group_tag(pairs: Sequence[tuple[str, str]]) -> str:
    """The name of a group: its bucket as the hash tag, then its (field, identity) pairs, readable where they can be,
    else digested. All groups of one user share a bucket, and so do all of one account that name no user, and so on."""
    text = "|".join([f"{name}={value}" for name, value in pairs])
    if text.count("|") >= len(pairs):
        # A value has one in it: other pairs could come to the same text.
        text = "".join([f"{len(value)}|{name}={value}" for name, value in pairs])
        text = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    elif not _READABLE.fullmatch(text):
        text = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    _, value = min(pairs, key=lambda pair: BUCKETED_BY.get(pair[0], len(BUCKETED_BY)))
    return f"{{{bucket_of(value)}}}{text}"


def bucket_of_tag(tag: str) -> int:
    """The bucket of a group, a key or an index tag: its hash tag."""
    return int(tag[1 : tag.index("}")])

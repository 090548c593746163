"""Durations and counts as people write them."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """A duration as people write it: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, what: str) -> str:
    """1 chunk, 2 chunks, 1,000 chunks."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def plain(url: str) -> str:
    """A place on this machine as its path, to be pasted; others as their URL."""
    return url.removeprefix("file://")


def dollars(amount: float) -> str:
    """$0.004, $3.21, $22,726.90; less is not told apart."""
    if 0 < amount < 0.001:
        return "<$0.001"
    return f"${amount:,.2f}" if amount >= 0.1 or not amount else f"${amount:.2g}"

"""Pages for people: one self-contained file of HTML, its pictures within it, in the look of the report."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from cli.report import STYLE

OWN_STYLE = "img{max-width:100%}figure{margin:1em 0}figcaption{color:#5a6570;font-size:14px}"


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of these parts, which are HTML."""
    name = html.escape(title)
    return "\n".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title>",
            f"<style>{STYLE}{OWN_STYLE}</style><h1>{name}</h1>",
            *parts,
        ]
    )


def heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def verbatim(text: str) -> str:
    """Text to be copied as it is."""
    return f"<pre>{html.escape(text)}</pre>"


def picture(content: bytes, caption: str) -> str:
    """A PNG within the page; its caption says what is seen, also to those who do not see it."""
    encoded = base64.b64encode(content).decode()
    text = html.escape(caption, quote=True)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, the first column to the left."""
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in [cells, *lines])
    return f"<div class=wide><table>{body}</table></div>"

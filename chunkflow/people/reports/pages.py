"""Pages for people: one self-contained file of HTML, its pictures within it, in the look of the report."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

BODY = "font:15px/1.55 system-ui,sans-serif;max-width:1060px;margin:2.5em auto;padding:0 1.5em;color:#1c2127"
RULES = """
h1{margin-bottom:.2em}h2{margin-top:2em;border-bottom:2px solid #e3e7eb;padding-bottom:.2em;font-size:1.25em}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
td,th{padding:.28em .7em;text-align:right;border-bottom:1px solid #e8ebee;white-space:nowrap}
th{color:#5a6570;font-weight:600}td:first-child,th:first-child,.left td,.left th{text-align:left}
tr.total td{font-weight:600;border-top:2px solid #c9d0d6}
.status{display:inline-block;
padding:.1em .7em;border-radius:1em;color:#fff;background:#22863a;font-weight:600}
.bad{color:#c00000}.status.bad{background:#c00000;color:#fff}.quiet{color:#5a6570;font-size:14px}.wide{overflow-x:auto}
pre{overflow:auto;background:#f5f7f9;padding:.8em 1em;font-size:13px;border-radius:4px}
blockquote{margin:0;padding:.6em 1.2em;background:#f5f7f9;border-left:4px solid #4477aa}
svg{width:100%}svg text{font:11px system-ui,sans-serif;fill:#5a6570}svg line{stroke:#d5dbe0}
.key span{margin-right:1.3em;white-space:nowrap}.key i{display:inline-block;width:.8em;height:.8em;
margin-right:.4em;border-radius:2px}
img{max-width:100%}figure{margin:1em 0}figcaption{color:#5a6570;font-size:14px}
"""
STYLE = f"\nbody{{{BODY}}}{RULES}"


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of these parts, which are HTML."""
    name = html.escape(title)
    return "\n".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title>",
            f"<style>{STYLE}</style><h1>{name}</h1>",
            *parts,
        ]
    )


def fragment(title: str, parts: Iterable[str]) -> str:
    """The same as a part of another page, such as a notebook, which its style leaves alone."""
    return "\n".join(
        [
            f"<div class=chunkflow-page><style>.chunkflow-page{{{BODY};background:#fff;{RULES}}}</style>",
            f"<h1>{html.escape(title)}</h1>",
            *parts,
            "</div>",
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

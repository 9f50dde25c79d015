"""A one-time link as a picture that a camera reads, for a terminal and for a screen."""

from __future__ import annotations

import io

import segno


def picture(link: str) -> str:
    """As SVG, dark on white: cameras want it so."""
    drawn = io.BytesIO()
    segno.make(link, error="m").save(
        drawn, kind="svg", scale=6, border=4, dark="#000", light="#fff", xmldecl=False
    )
    return drawn.getvalue().decode("utf-8")


def blocks(link: str) -> str:
    """As characters."""
    drawn = io.StringIO()
    segno.make(link, error="m").terminal(drawn, compact=True)
    return drawn.getvalue()

"""The ways to compute attention, and all that differs between them except the order of their kernels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attention:
    """One way to compute attention. To add one, add an entry to ATTENTION."""

    fused: bool  # one kernel holds the scores; else they are tensors in memory
    implementation: str  # what transformers calls it: `attn_implementation`
    about: str  # a few words for help texts
    colour: str  # in charts: of its lines and marks
    markers: tuple[str, ...]  # Vega's names of shapes, one for each quantity, or for each stage
    marker_size: int  # area in square pixels
    line_width: float  # pixels


# Okabe and Ito's colours, which colour-blind eyes tell apart; the blue is lightened so that it is seen on black too.
# Lines and marks differ in width: if two attentions have equal values, both are seen.
ATTENTION = {
    "eager": Attention(
        fused=False,
        implementation="eager",
        about="scores in memory",
        colour="#d55e00",
        markers=("circle", "square", "cross", "triangle-left"),
        marker_size=70,
        line_width=3.2,
    ),
    "flash": Attention(
        fused=True,
        implementation="sdpa",
        about="fused kernels",
        colour="#2b83d6",
        markers=("triangle-up", "diamond", "triangle-down", "triangle-right"),
        marker_size=32,
        line_width=1.4,
    ),
}

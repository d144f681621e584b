"""Every case that a measured process can be ordered to run, by its key."""

from __future__ import annotations

from cases import CASES, Case
from curves import CURVES, IDLES_CURVE
from honesty import DETECTORS

CATALOGUE: dict[str, Case] = {
    **CASES,
    **{case.key: case for curve in (*CURVES, IDLES_CURVE) for case in curve.points.values()},
    **{case.key: case for case in DETECTORS},
}

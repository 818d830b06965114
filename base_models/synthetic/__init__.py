"""Synthetic radiographs: seven body parts, drawn with and without abnormalities, in MURA's layout."""

from base_models.synthetic.lesion import KINDS
from base_models.synthetic.study import CASES, SyntheticStudy, draw_study
from base_models.synthetic.tree import synthesize

__all__ = ["CASES", "KINDS", "SyntheticStudy", "draw_study", "synthesize"]

"""From local field to total susceptibility (QSM): direct and total-variation inversions, and their reference."""

from .direct import tikhonov, tkd
from .morphology import medi
from .reference import csf_mask, reference, reference_region
from .tv import total_variation

__all__ = ["csf_mask", "medi", "reference", "reference_region", "tikhonov", "tkd", "total_variation"]

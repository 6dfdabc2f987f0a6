"""From maps to sources: QSM inversions, and χ-separation in closed form, iterative, or by network."""

"""Magnetic susceptibility source separation (chi-separation) from multi-echo gradient-echo MRI.

The package imports nothing by itself: every room is imported by whoever needs it, so that Slicer's GUI process
never pays for torch and the core runs without Slicer.
"""

__version__ = "0.1.0"

"""Training of the networks on simulated heads: volumes, patches, losses, the loop, and export as a bundle.

The modules import torch; this package does not, so that the command line can offer the command without it.
"""

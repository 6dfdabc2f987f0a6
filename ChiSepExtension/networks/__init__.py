"""Networks: the 3-D U-Net, weight files of two kinds, devices, and inference that is exact and fits into memory.

Nothing is imported here: torch is heavy, and the room's catalogue parts (`weight_store`, `card`, `devices`) must
work without it.
"""

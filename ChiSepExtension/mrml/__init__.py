"""Ring 1: the scan, its maps and their display as MRML nodes; runs in Slicer and on slicer-core without Qt."""

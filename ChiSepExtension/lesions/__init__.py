"""Lesions: from a mask and the maps to numbers, ratings, agreement and files.

The order in which a study meets the modules: `components` (mask to lesions with identifiers), `lineage` (edits, prior
visit), `vessels` and `measures` (numbers per lesion), `codebook`, `blinding` and `ratings` (what a reader says),
`agreement` and `consensus` (two readers), `tables`, `exports`, `lock` and `deidentify` (files), `commands` (the same
from the command line).
"""

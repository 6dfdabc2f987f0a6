"""Maps, lesion outlines and lesion values back to DICOM: Parametric Map, Segmentation, Structured Reporting.

Writing needs the optional package highdicom, imported only when something is written; reading a segmentation back needs
pydicom alone, which comes with 3D Slicer.
"""

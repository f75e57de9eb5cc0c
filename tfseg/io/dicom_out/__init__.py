"""DICOM out: results as objects that refer to the series they were made from.

One module an object: :mod:`.seg` (Segmentation, PS3.3 A.51), RT Structure Set and structured
report beside it. What they refer to comes from :mod:`.sources`, what structures are called in
SNOMED CT from :mod:`.codes`.
"""

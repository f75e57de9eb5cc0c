"""DICOM objects of results: Segmentations, structure sets, reports, and the way back as labels.

One module an object and direction: :mod:`.seg` and :mod:`.seg_read` (Segmentation, PS3.3 A.51),
:mod:`.rtstruct` and :mod:`.rtstruct_read` (RT Structure Set, A.19), :mod:`.sr` (structured report,
PS3.16 TID 1500). What they refer to comes from :mod:`.sources`, what structures are called in
SNOMED CT from :mod:`.codes`.
"""

SEG_TYPES = ("binary", "fractional", "labelmap")  # of a Segmentation, PS3.3 C.8.20.2

"""Suffixes of files, in lower case: the one table of them, in the order of preference."""

NIFTI = (".nii", ".nii.gz")
METAIMAGE = (".mha", ".mhd")
NRRD = (".nrrd", ".nhdr")
ANALYZE = (".hdr",)
PICTURES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".ppm.gz", ".pgm.gz",
)  # fmt: skip
DICOM = (".dcm", ".ima", ".zip")

VOLUMES = (*NIFTI, *METAIMAGE, *NRRD, *ANALYZE)
READ = (*VOLUMES, *PICTURES, *DICOM)
WRITTEN_VOLUMES = (".nii.gz", ".nii", ".mha", ".nrrd")
WRITTEN = (*WRITTEN_VOLUMES, ".png")

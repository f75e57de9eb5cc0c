"""Packaging: three packages from three top-level folders, and what each needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "tfseg/__init__.py").read_text()).group(1)

# The reason for each dependency is in docs/adr/0002-dependencies.md.
EXTRAS = {
    "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
    "tensorrt": ["tensorrt-rtx>=1.2"],
    "openvino": ["openvino>=2026.1"],
    "tflite": ["ai-edge-litert>=2.1"],
    "serving": ["httptools>=0.6.1", "tensorflow-serving-api>=2.21,<2.22", "uvicorn>=0.30"],
}
EXTRAS["all"] = [
    package for extra in ("tensorrt", "openvino", "tflite", "serving") for package in EXTRAS[extra]
]
EXTRAS["dev"] = [
    *EXTRAS["all"],
    "hypothesis>=6.100",
    "mypy>=1.13",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "PyYAML>=6.0",
    "ruff>=0.9",
    "SimpleITK>=2.4",
]

setup(
    name="tfseg",
    version=VERSION,
    description="Medical image segmentation in TensorFlow, from the scan to a served model",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=[
        *find_packages(include=["tfseg", "tfseg.*"]),
        *find_packages("export", include=["tfseg_export", "tfseg_export.*"]),
        *find_packages("serving", include=["tfseg_serving", "tfseg_serving.*"]),
    ],
    package_dir={
        "tfseg": "tfseg",
        "tfseg_export": "export/tfseg_export",
        "tfseg_serving": "serving/tfseg_serving",
    },
    package_data={"tfseg": ["py.typed", "report/*.html", "models/*.json"]},
    install_requires=[
        "click>=8.1",
        "contourpy>=1.2",
        "grpcio>=1.66",
        "h5py>=3.10",
        "highdicom>=0.28,<0.29",
        "imagecodecs>=2024.6.1",
        "Jinja2>=3.1",
        "keras>=3.15,<3.16",
        "matplotlib>=3.9",
        "ml_dtypes>=0.5",
        "nibabel>=5.3",
        "numba>=0.61",
        "numpy>=1.26",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "orjson>=3.10",
        "pillow>=11",
        "protobuf>=5.28",
        "pydantic>=2.9",
        "pydicom>=3.0",
        "pyjpegls>=1.5",
        "python-gdcm>=3.0.24",
        "rich>=13.7",
        "scipy>=1.13",
        "tensorboard>=2.20",
        "tensorflow>=2.21,<2.22",
        "tf2onnx>=1.17",
        "tifffile>=2024.8.10",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["tfseg = tfseg.cli.main:main"]},
)

"""``tfseg predict`` on a run folder with a tiny network whose answer is known."""

import json
from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg.models import build, inference_model
from tfseg.plan import Channel, Plan, Scale
from tfseg.preprocess.likeness import look_at, summarise
from tfseg.volume import Volume

AFFINE = np.array([[-1.2, 0.1, 0, 30], [0.1, 1.2, 0, -20], [0, 0, 2.5, 7.25], [0, 0, 0, 1.0]])


def save_run(folder, dims=3, channels=1):
    """A run whose network calls voxels above 100 organ: logits (0, x - 1) at 1 = 100."""
    folder.mkdir(parents=True)
    plan = Plan(
        dims=dims,
        spacing_mm=None,
        patch_size=(8,) * dims,
        batch_size=1,
        channels=tuple(
            Channel(name=f"c{i}", normalisation=Scale(scale=100)) for i in range(channels)
        ),
        labels=("background", "organ"),
    )
    inputs = keras.Input((8,) * dims + (channels,))
    layer = keras.layers.Conv2D if dims == 2 else keras.layers.Conv3D
    model = keras.Model(inputs, layer(2, 1, name="logits")(inputs))
    weights = np.zeros((1,) * dims + (channels, 2), np.float32)
    weights[..., 1] = 1 / channels
    model.get_layer("logits").set_weights([weights, np.array([0, -1], np.float32)])
    model.save(folder / "model.keras")
    manifest = Manifest(format="run", model="unet", plan=plan, training={"mirrored": "zyx"})
    manifest.save(folder, "manifest.json")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("runs") / "run")


def save_scan(path, seed=0):
    """A NIfTI of 11 x 10 x 9 voxels (x, y, z) in 0..200; returns its array."""
    array = np.random.default_rng(seed).integers(0, 200, (11, 10, 9)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return array


def test_one_scan_keeps_its_exact_grid(model, tmp_path, capsys):
    array = save_scan(tmp_path / "scan.nii.gz")
    out = tmp_path / "seg.nii.gz"
    assert run(["predict", str(model), str(tmp_path / "scan.nii.gz"), "-o", str(out)]) == 0
    written = nibabel.load(out)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, nibabel.load(tmp_path / "scan.nii.gz").affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), array > 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "seg.nii.gz" in captured.err


def test_a_scan_whose_forms_differ_keeps_both(model, tmp_path, capsys):
    # spinalcordtoolbox#2106: viewers that take the qform must show the answer on the scan, too.
    image = nibabel.Nifti1Image(np.zeros((11, 10, 9), np.int16), None)
    moved = AFFINE.copy()
    moved[2, 3] += 50
    image.header.set_qform(moved, 1)
    image.header.set_sform(AFFINE, 2)
    (tmp_path / "scan.nii").write_bytes(image.to_bytes())
    out = tmp_path / "seg.nii.gz"
    assert run(["predict", str(model), str(tmp_path / "scan.nii"), "-o", str(out), "--json"]) == 0
    before, after = image.header, nibabel.load(out).header
    for form in ("sform", "qform"):
        assert before[f"{form}_code"] == after[f"{form}_code"]
        np.testing.assert_array_equal(
            getattr(before, f"get_{form}")(), getattr(after, f"get_{form}")()
        )
    printed = capsys.readouterr()
    assert printed.err.count("up to 50 mm apart") == 1
    (remark, *_) = json.loads(printed.out)["written"][0]["remarks"]
    assert remark.startswith("sform (code 2) and qform (code 1) place voxels up to 50 mm apart")


def test_a_folder_with_probabilities_as_json(model, tmp_path, capsys):
    arrays = {name: save_scan(tmp_path / f"in/{name}.nii", seed) for seed, name in enumerate("ab")}
    arguments = ["predict", str(model), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert run([*arguments, "--save-probabilities", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["failed"] == []
    voxel_ml = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    for entry, (name, array) in zip(document["written"], arrays.items(), strict=True):
        assert entry["output"] == str(tmp_path / f"out/{name}.nii.gz")
        assert entry["volumes_ml"] == {
            "organ": pytest.approx((array > 100).sum() * voxel_ml, rel=0.02)
        }
        with np.load(tmp_path / f"out/{name}.npz", allow_pickle=False) as stored:
            probabilities = stored["probabilities"]
        expected = 1 / (1 + np.exp(1 - array.transpose(2, 1, 0) / 100))
        np.testing.assert_allclose(probabilities[..., 1], expected, atol=1e-5)
    names = ["a.nii.gz", "a.npz", "b.nii.gz", "b.npz"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_probabilities_take_one_read_and_one_pass(model, tmp_path, monkeypatch):
    from tfseg.inference.backends.keras_run import KerasBackend
    from tfseg.io import scans

    reads, windows = [], []
    read, call = scans.read_volume, KerasBackend.__call__
    monkeypatch.setattr(scans, "read_volume", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(
        KerasBackend, "__call__", lambda self, batch: windows.append(0) or call(self, batch)
    )
    save_scan(tmp_path / "scan.nii")
    arguments = ["predict", str(model), str(tmp_path / "scan.nii"), "-o"]
    assert run([*arguments, str(tmp_path / "one")]) == 0
    alone = len(windows)
    assert run([*arguments, str(tmp_path / "two"), "--save-probabilities"]) == 0
    assert (len(reads), len(windows)) == (2, 2 * alone)


def test_one_bad_scan_of_several_does_not_stop_the_others(model, tmp_path, capsys):
    save_scan(tmp_path / "in/a.nii.gz")
    (tmp_path / "in/b.nii.gz").write_bytes(b"")
    arguments = ["predict", str(model), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert run([*arguments, "--json"]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["failed"] == [str(tmp_path / "in/b.nii.gz")]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.nii.gz"]
    assert "1 of 2 scans could not be segmented." in captured.err.splitlines()[-1]


def test_pictures_become_pictures(tmp_path):
    from PIL import Image

    model = save_run(tmp_path / "run2d", dims=2, channels=3)
    picture = np.random.default_rng(0).integers(0, 255, (13, 17, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "eye.png")
    assert run(["predict", str(model), str(tmp_path / "eye.png"), "-o", str(tmp_path / "out")]) == 0
    label = np.asarray(Image.open(tmp_path / "out/eye.png"))
    sure = np.abs(picture.mean(-1) - 100) > 0.01
    np.testing.assert_array_equal((label > 0)[sure], (picture.mean(-1) > 100)[sure])


def test_a_real_network_end_to_end(tmp_path, capfd):
    folder = save_run(tmp_path / "run")
    network = inference_model(build("unet", (8, 8, 8, 1), 2, base_filters=2, depth=4))
    network.save(folder / "model.keras")
    save_scan(tmp_path / "scan.nii")
    assert run(["predict", str(folder), str(tmp_path / "scan.nii"), "-o", str(tmp_path / "o")]) == 0
    # Nothing but our own note on stderr: no warning of a library.
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert nibabel.load(tmp_path / "o/scan.nii.gz").shape == (11, 10, 9)


def test_another_kind_of_image_is_refused_and_remarked(tmp_path, capsys):
    folder = save_run(tmp_path / "run")
    hu = np.linspace(-1000, 1500, 9 * 10 * 11).reshape(9, 10, 11)
    seen = summarise([look_at(Volume.from_geometry(hu, (2.5, 1.2, 1.2)), picture=False)], ["CT"])
    manifest = Manifest.load(folder, "manifest.json")
    manifest.model_copy(update={"fingerprint": seen}).save(folder, "manifest.json")
    save_scan(tmp_path / "scan.nii.gz")  # 0 to 200
    arguments = ["predict", str(folder), str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "o")]
    assert run([*arguments, "--json"]) == 2
    error = capsys.readouterr().err
    assert "scan.nii.gz is plainly another kind of image than unet was trained on: c0 has" in error
    assert not (tmp_path / "o").exists()
    assert run([*arguments, "--json", "--anyway"]) == 0
    captured = capsys.readouterr()
    (entry,) = json.loads(captured.out)["written"]
    assert entry["remarks"][0].startswith("segmented anyway: c0 has no values below 0")
    assert entry["remarks"][0] in captured.err


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def nan_scan(tmp_path):
    array = np.full((4, 4, 4), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "nan.nii")


def two_channels(tmp_path):
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), tmp_path / "2c.nii"
    )


def cut_scan(tmp_path):
    content = (tmp_path / "scan.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])


BAD = {
    "no model": (None, ["{t}/gone", "{t}/scan.nii.gz", "-o", "{t}/o"], "there is no model"),
    "empty model folder": (
        lambda t: (t / "empty").mkdir(),
        ["{t}/empty", "{t}/scan.nii.gz", "-o", "{t}/o"],
        "is no model: looked for model.keras",
    ),
    "model is a scan": (
        None,
        ["{t}/scan.nii.gz", "{t}/scan.nii.gz", "-o", "{t}/o"],
        "scan.nii.gz is no model",
    ),
    "no scan": (None, ["{m}", "{t}/gone.nii", "-o", "{t}/o"], "gone.nii: there is no such file"),
    "empty scan": (
        lambda t: write(t / "empty.nii.gz", b""),
        ["{m}", "{t}/empty.nii.gz", "-o", "{t}/o"],
        "empty.nii.gz",
    ),
    "cut scan": (cut_scan, ["{m}", "{t}/cut.nii.gz", "-o", "{t}/o"], "cut.nii.gz"),
    "unknown format": (
        lambda t: write(t / "scan.xyz", b"scan"),
        ["{m}", "{t}/scan.xyz", "-o", "{t}/o"],
        "unknown format '.xyz'",
    ),
    "empty folder": (
        lambda t: (t / "none").mkdir(),
        ["{m}", "{t}/none", "-o", "{t}/o"],
        "none",
    ),
    "NaN": (nan_scan, ["{m}", "{t}/nan.nii", "-o", "{t}/o"], "holds NaN or infinite voxels"),
    "channels": (
        two_channels,
        ["{m}", "{t}/2c.nii", "-o", "{t}/o"],
        "takes 1 channels (c0); the image has 2",
    ),
    "one output for two": (
        lambda t: save_scan(t / "b.nii.gz"),
        ["{m}", "{t}/scan.nii.gz", "{t}/b.nii.gz", "-o", "{t}/o.nii.gz"],
        "one output file takes one scan; 2 were given",
    ),
    "same name": (
        lambda t: save_scan(t / "deep/scan.nii"),
        ["{m}", "{t}/scan.nii.gz", "{t}/deep/scan.nii", "-o", "{t}/o"],
        "would both be written to",
    ),
    "probabilities of the same name": (
        lambda t: write(t / "scan.png", b"picture"),
        ["{m}", "{t}/scan.nii.gz", "{t}/scan.png", "-o", "{t}/o", "--save-probabilities"],
        "would both write their probabilities to",
    ),
    "onto itself": (
        None,
        ["{m}", "{t}/scan.nii.gz", "-o", "{t}/scan.nii.gz"],
        "would replace the scan",
    ),
    "output format": (
        None,
        ["{m}", "{t}/scan.nii.gz", "-o", "{t}/seg.dcm"],
        "written as .nii.gz, .nii, .mha, .nrrd, .png; got the file",
    ),
    "slices as picture": (
        None,
        ["{m}", "{t}/scan.nii.gz", "-o", "{t}/seg.png"],
        "seg.png",
    ),
    "output below a file": (
        lambda t: write(t / "file", b""),
        ["{m}", "{t}/scan.nii.gz", "-o", "{t}/file/seg.nii.gz"],
        "cannot write",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_to_predict(model, tmp_path, capfd, name):
    damage, arguments, part = BAD[name]
    save_scan(tmp_path / "scan.nii.gz")
    if damage:
        damage(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code = run(["predict", *(argument.format(m=model, t=tmp_path) for argument in arguments)])
    captured = capfd.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.count("\n") == 1
    assert part in captured.err
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def damaged_manifest(folder, **changes):
    document = json.loads((folder / "manifest.json").read_text())
    document.pop("sha256")
    (folder / "manifest.json").write_text(json.dumps({**document, **changes}))


BAD_RUN = {
    "damaged network": (
        lambda folder: (folder / "model.keras").write_bytes(b"PK\x03\x04"),
        "model.keras cannot be loaded",
    ),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "the manifest is missing"),
    "changed manifest": (
        lambda folder: (folder / "manifest.json").write_text(
            (folder / "manifest.json").read_text().replace("organ", "liver")
        ),
        "manifest.json was changed after it was written",
    ),
    "cut manifest": (
        lambda folder: (folder / "manifest.json").write_text("{"),
        "the manifest is not valid JSON",
    ),
    "unknown field": (
        lambda folder: damaged_manifest(folder, extra=1),
        "extra: Extra inputs are not permitted; got 1",
    ),
}


@pytest.mark.parametrize("name", BAD_RUN)
def test_bad_input_damaged_run(tmp_path, capfd, name):
    damage, part = BAD_RUN[name]
    folder = save_run(tmp_path / "run")
    save_scan(tmp_path / "scan.nii.gz")
    damage(folder)
    capfd.readouterr()
    arguments = ["predict", str(folder), str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "o")]
    assert run(arguments) == 2
    captured = capfd.readouterr()
    assert captured.err.count("\n") == 1
    assert part in captured.err
    assert not (tmp_path / "o").exists()


def test_mirror_images_and_steps_afterwards(model, tmp_path, capsys):
    """The network is pointwise, so that mirroring changes nothing."""
    array = save_scan(tmp_path / "scan.nii.gz")
    out = tmp_path / "out.nii.gz"
    arguments = ["predict", str(model), str(tmp_path / "scan.nii.gz"), "-o", str(out), "--tta"]
    assert run([*arguments, "--post", "largest_component", "--post", "fill_holes", "--json"]) == 0
    remarks = json.loads(capsys.readouterr().out)["written"][0]["remarks"]
    assert remarks[-3:] == [
        "test-time augmentation: averaged over mirror images",
        "post-processing: largest_component",
        "post-processing: fill_holes",
    ]
    numbers, _ = ndimage.label(array > 100, np.ones((3, 3, 3)))
    largest = numbers == np.argmax(np.bincount(numbers.ravel())[1:]) + 1
    written = np.asarray(nibabel.load(out).dataobj)
    np.testing.assert_array_equal(written, ndimage.binary_fill_holes(largest))


def test_steps_that_mean_nothing_here_are_refused(tmp_path, model, capsys):
    picture = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    flat = save_run(tmp_path / "run", dims=2)
    for arguments, rule in (
        ([str(model), "--post", "opening"], "is one of largest_component, remove_small"),
        ([str(flat), "--post", "remove_small(mm3=5)"], "a picture has no millimetres"),
        (
            [str(model), "--post", "fill_holes", "--format", "dicom-seg", "--seg-type",
             "fractional"],
            "fractional holds the network's probabilities, which --post does not change",
        ),
    ):  # fmt: skip
        out = tmp_path / ("out.dcm" if "dicom-seg" in arguments else "out.png")
        assert run(["predict", *arguments, str(picture), "-o", str(out)]) == 2
        assert rule in capsys.readouterr().err
        assert not out.exists()

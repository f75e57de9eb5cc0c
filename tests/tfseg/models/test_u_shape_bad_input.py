"""What the dense and 3D U-shapes refuse on the command line, before any data are read."""

import pytest

from tfseg.cli.main import run


@pytest.mark.parametrize(
    ("model", "setting", "rule", "value"),
    [
        ("fc_densenet56", "blocks=4,4", "must be an odd number of counts", "got [4, 4]"),
        ("fc_densenet103", "blocks=4,0,4", "greater than or equal to 1", "got 0"),
        ("fc_densenet67", "growth=0", "greater than or equal to 1", "got 0"),
        ("dense_unet3d", "depth=1", "greater than or equal to 2", "got 1"),
        ("drinet", "growth=8", "growth", "got 8"),
        ("drinet", "base_filters=3", "greater than or equal to 4", "got 3"),
        ("h_denseunet", "score_scale=0", "greater than 0", "got 0"),
        ("h_denseunet", "blocks_2d=6,12,36,24,12,12", "at most 5 items", "got [6, 12, 36"),
        ("unet3d", "norm=layer", "'batch_shift'", "got 'layer'"),
        ("sulci_unet3d", "upsampling=cubic", "'transposed' or 'nearest'", "got 'cubic'"),
        ("unet3d_ds", "base_filters=0", "greater than or equal to 1", "got 0"),
        ("vnet", "decoder=3,2,1", "one stage fewer than encoder, (1, 2, 3, 3, 3)", "got [3, 2, 1]"),
        ("vnet", "kernel=4", "3, 5 or 7", "got 4"),
        ("segresnet", "dropout=1.0", "less than 1", "got 1.0"),
        ("segresnet", "encoder=1,2,2", "one level fewer than encoder, (1, 2, 2)", "got (1, 1, 1)"),
        ("nonlocal_unet", "heads=5", "must divide the 256 channels", "got 5"),
        ("kidnet", "activation=gelu", "'relu', 'leaky_relu' or 'elu'", "got 'gelu'"),
        ("fracnet", "widht=8", "no setting is called", "'widht'"),
    ],
)
def test_bad_input_network_options(model, setting, rule, value, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code = run(["train", "--model", model, "--data", ".", "--set", setting])
    out, err = capfd.readouterr()
    lines = err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, err
    assert rule in lines[0]
    assert value in lines[0]
    assert out == ""
    assert list(tmp_path.iterdir()) == []

"""Networks exported to ONNX give the same maps through onnxruntime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from ChiSepExtension.errors import Cancelled, WeightsError  # noqa: E402
from ChiSepExtension.geometry import Grid  # noqa: E402
from ChiSepExtension.networks.card import Channel, ModelCard  # noqa: E402
from ChiSepExtension.networks.folding import fold  # noqa: E402
from ChiSepExtension.networks.loading import load_weights  # noqa: E402
from ChiSepExtension.networks.network import Network, NetworkSet  # noqa: E402
from ChiSepExtension.networks.onnx_engine import OnnxEngine, load_onnx  # noqa: E402
from ChiSepExtension.networks.onnx_export import export_onnx  # noqa: E402
from ChiSepExtension.networks.unet import UNet3d  # noqa: E402
from ChiSepExtension.progress import CancelToken  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402


@pytest.fixture
def network():
    torch.manual_seed(0)
    unet = UNet3d(2, 2, 4).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.2, 0.6)
    card = ModelCard(
        role="separation",
        base_width=4,
        inputs=(Channel("local_field", 0.0, 0.01), Channel("r2prime", 0.05, 0.05)),
        outputs=(Channel("chi_para", 0.03, 0.03), Channel("chi_dia", 0.03, 0.03)),
    )
    return Network(card, fold(unet.state_dict()))


def test_onnx_gives_the_maps_of_torch(network, tmp_path):
    export_onnx(network, tmp_path)
    grid = Grid.from_spacing((21, 36, 30))
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in grid.shape)]
    mask = sum(a**2 for a in axes) < 0.8
    generator = np.random.default_rng(0)
    field = generator.normal(0, 0.01, grid.shape).astype(np.float32)
    r2prime = generator.uniform(0, 12, grid.shape).astype(np.float32)
    inputs = (field, mask, grid)
    with_torch = separate_sepnet(
        *inputs, NetworkSet("t", {"separation": network}), r2prime_hz=r2prime, dtype="float32", device="cpu"
    )
    with_onnx = separate_sepnet(*inputs, tmp_path, r2prime_hz=r2prime)
    assert with_onnx.parameters["runs"][0]["device"].startswith("onnxruntime")
    # 1e-4 ppb relative to maps of 30 ppb: float32 sums in another order.
    np.testing.assert_allclose(with_onnx.chi_para, with_torch.chi_para, atol=1e-4 * with_torch.chi_para.max())
    np.testing.assert_allclose(with_onnx.chi_dia, with_torch.chi_dia, atol=1e-4 * with_torch.chi_dia.max())


def test_torch_is_not_needed_to_run(network, tmp_path):
    export_onnx(network, tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; "
        "from ChiSepExtension.geometry import Grid; from ChiSepExtension.separation.sepnet import separate_sepnet; "
        "a = np.ones((16, 16, 16), np.float32); m = a > 0; "
        "print(separate_sepnet(a, m, Grid.from_spacing(a.shape), sys.argv[1], r2prime_hz=a).chi_para.shape)"
    )
    root = Path(__file__).resolve().parents[3]
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert child.stdout.strip() == "(16, 16, 16)", child.stderr


def test_exchanged_file_is_refused(network, tmp_path):
    export_onnx(network, tmp_path)
    data = bytearray((tmp_path / "separation.onnx").read_bytes())
    data[100] ^= 1
    (tmp_path / "separation.onnx").write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_weights(tmp_path)


def test_folder_without_networks(tmp_path):
    with pytest.raises(WeightsError, match="no ONNX networks"):
        load_onnx(tmp_path)


def test_cancel_is_heard(network, tmp_path):
    export_onnx(network, tmp_path)
    weights = load_onnx(tmp_path)["separation"].weights
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        OnnxEngine().run(weights, np.ones((2, 96, 96, 96), np.float32), np.ones((96, 96, 96), bool), cancel=token)

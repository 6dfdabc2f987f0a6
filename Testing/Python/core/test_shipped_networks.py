"""The networks that come with the package: present, small, honest about their training, and run without any import."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from ChiSepExtension.accuracy.methods import trained_heads  # noqa: E402
from ChiSepExtension.accuracy.regimes import FIRST_SEED  # noqa: E402
from ChiSepExtension.networks.bundle import load_bundle  # noqa: E402
from ChiSepExtension.networks.weight_store import SHIPPED, find_weights  # noqa: E402
from ChiSepExtension.quality.metrics import nrmse  # noqa: E402
from ChiSepExtension.separation.sepnet import separate_sepnet  # noqa: E402
from Testing.Python.core.training_case import blob_head  # noqa: E402

PIPELINES = ("sepnet-r2prime", "sepnet-r2star")

#: The label maps that the project keeps for validation and benchmark.
HELD_OUT = {f"training_seg_{n}" for n in (17, 18, 19, 20)}


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("CHISEP_WEIGHTS", str(tmp_path / "none"))


def _card(pipeline):
    return json.loads((SHIPPED / pipeline / "separation.card.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_card_names_training_heads_and_none_of_the_benchmark(pipeline):
    details = _card(pipeline)["details"]
    trained = set(trained_heads(details))
    assert any(name.startswith("training_seg_") for name in trained) and not trained & HELD_OUT
    assert not trained & {str(FIRST_SEED + n) for n in range(1000)}
    # Seeds of another run that this one started from are of the same range or above.
    assert details["data"]["seeds"][0] >= 100_000


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_card_tells_schedule_hardware_scores_and_limits(pipeline):
    card = _card(pipeline)
    assert card["licence"] == "Apache-2.0"
    assert any("not validated in vivo" in line for line in card["details"]["limits"])
    assert any("Research use only" in line for line in card["details"]["limits"])
    scores = card["details"]["scores"]
    for source in ("chi_para", "chi_dia"):
        assert 0 < scores["nrmse_percent"][source] < 100 and scores["conventional_nrmse_percent"][source] > 0
    assert card["details"]["hardware"]["minutes"] > 0 and card["details"]["schedule"]["steps_done"] > 0


def test_shipped_weights_stay_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 36e6


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_runs_with_nothing_installed_and_tells_the_sources_apart(pipeline):
    """Blobs are not brains: the maps need only be better than a constant, far from what they are on heads."""
    made = blob_head(3)
    rates = {"r2prime_hz": made.maps["r2prime"] * 137, "r2star_hz": made.maps["r2star"] * 137}
    wanted = "r2prime_hz" if pipeline == "sepnet-r2prime" else "r2star_hz"
    folder = find_weights(method=pipeline)
    maps = separate_sepnet(
        made.maps["local_field"], made.mask, made.grid, folder, **{wanted: rates[wanted]}, device="cpu"
    )
    assert maps.method == pipeline and folder.name == pipeline
    assert "r2star" not in {c.quantity for c in load_bundle(SHIPPED / "sepnet-r2prime")["separation"].card.inputs}
    total, true = maps.chi_para - maps.chi_dia, made.maps["chi_para"] - made.maps["chi_dia"]
    assert nrmse(total, true, made.mask) < 90 and np.isfinite(total).all()

"""Time, memory and accuracy of the inference engine beside plain PyTorch, measured in the same run.

Plain means: the network as published, float32, eager, on the whole padded volume. Every way is measured in a process
of its own, because peak memory belongs to a process. Run as a module this file is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import NEVER, CancelToken, Progress, silent
from .devices import processor_name

#: Matrix of the published training data, and the box of an adult brain in it, front to back, left to right, up.
SHAPE = (256, 224, 176)
BRAIN = (176, 140, 140)

#: Spread of χpara in the published training data, ppb: what a difference of one standard deviation means.
PPB_PER_SD = 35.3

#: Ways of running, the reference first.
WAYS = ("plain", "engine-float32", "engine-auto")


def benchmark_inference(
    *,
    device: str = "cpu",
    base_width: int = 32,
    shape: tuple[int, int, int] = SHAPE,
    brain: tuple[int, int, int] = BRAIN,
    ways: tuple[str, ...] = WAYS,
    threads: int | None = None,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> dict[str, Any]:
    """Run the separation network with random weights on an ellipsoidal brain, in each way, and compare.

    Parameters
    ----------
    device
        "cpu", "cuda", "cuda:N" or "mps".
    base_width, shape, brain
        Size of the network, of the padded volume and of the brain's box in it.
    ways
        "plain", "plain-box" (the plain network on the brain's box alone, which changes the map), "engine-float32",
        "engine-bfloat16", "engine-auto", "engine-float32-small" (the engine's smallest plan). Ratios need "plain".
    threads
        Of torch on the CPU; None for its default.

    Returns
    -------
    JSON-able: processor, settings, and per way seconds, peak bytes, ratios to plain, TFLOP/s and the difference to
    plain: largest in ppb (one standard deviation of the output standing for 35 ppb) and NRMSE.
    """
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="chisep-benchmark-") as folder:
        for count, way in enumerate(ways):
            cancel.check()
            progress(count / len(ways), f"Benchmark: {way}")
            output = Path(folder) / f"{way}.npy"
            settings = {
                "way": way,
                "device": device,
                "base_width": base_width,
                "shape": list(shape),
                "brain": list(brain),
                "threads": threads,
                "output": str(output),
            }
            results[way] = _measure_in_child(settings)
        if "plain" in results:
            exact = np.load(Path(folder) / "plain.npy")
            for way, result in results.items():
                _compare(result, results["plain"], np.load(Path(folder) / f"{way}.npy"), exact)
    progress(1.0, "Benchmark")
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": device,
        "base_width": base_width,
        "shape": list(shape),
        "brain": list(brain),
        "ways": results,
    }


def _measure_in_child(settings: dict[str, Any]) -> dict[str, Any]:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "ChiSepExtension.networks.benchmark", json.dumps(settings)]
    child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"status {child.returncode}, killed for memory?"]
        raise InputError(f"The benchmark {settings['way']!r} failed: {lines[-1]}.", "Choose a smaller size.")
    return json.loads(child.stdout.strip().splitlines()[-1])


def _compare(result: dict[str, Any], plain: dict[str, Any], output: np.ndarray, exact: np.ndarray) -> None:
    difference = output.astype(np.float64) - exact
    scale = exact.std(axis=(1, 2, 3), dtype=np.float64)[:, None, None, None]
    result["largest_difference_ppb"] = float(np.abs(difference / scale).max() * PPB_PER_SD)
    result["nrmse"] = float(np.sqrt(np.mean((difference / scale) ** 2)))
    result["time_ratio"] = result["seconds"] / plain["seconds"]
    for key in ("peak_bytes", "device_peak_bytes"):
        if result.get(key) and plain.get(key):
            result[key.replace("bytes", "ratio")] = result[key] / plain[key]


def _measure(settings: dict[str, Any]) -> dict[str, Any]:
    """One way, in this process."""
    import torch

    from .folding import fold
    from .inference import Engine, choose_device, exact_float32
    from .layout import MULTIPLE
    from .regions import Region, bounding_box

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    device = choose_device(settings["device"])
    unet = _random_unet(settings["base_width"])
    channels, mask = _brain(tuple(settings["shape"]), tuple(settings["brain"]), unet.in_channels)
    inside = (slice(None), *bounding_box(mask).within(Region.whole(mask.shape)))
    way, facts = settings["way"], {"baseline_bytes": _peak_bytes()}
    if way.startswith("plain"):
        network = unet.to(device)
        x = channels
        if way == "plain-box":
            box = channels[inside]
            x = np.pad(box, [(0, 0), *((0, -n % MULTIPLE) for n in box.shape[1:])])
        _synchronise(device)
        started = time.perf_counter()
        with torch.inference_mode(), exact_float32():
            output = network(torch.from_numpy(x)[None].to(device))[0].cpu().numpy()
        seconds = time.perf_counter() - started
        output = output[(slice(None), *(slice(0, n) for n in box.shape[1:]))] if way == "plain-box" else output[inside]
        work = _multiply_adds(settings["base_width"], x.shape[1:])
    elif way.startswith("engine"):
        _, number_type, *small = way.split("-")
        network = fold(unet.state_dict())
        del unet
        if small:
            from . import inference

            inference.LADDER = inference.LADDER[-1:]
        engine = Engine(settings["device"], dtype=number_type, fall_back=False)
        started = time.perf_counter()
        output = engine.run(network, channels, mask)[inside]
        seconds = time.perf_counter() - started
        report = engine.reports[-1]
        work = report.cost.multiply_adds
        facts["dtype"], facts["slabs"] = report.dtype, asdict(report.slabs)
        facts["planned_bytes"] = report.cost.feature_bytes
        if report.precision_check is not None:
            facts["precision_check"] = asdict(report.precision_check)
    else:
        raise ValueError(f"Unknown way {way!r}.")
    np.save(settings["output"], output)
    facts["device_name"] = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    if device.type == "cuda":
        facts["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return {
        "seconds": seconds,
        "peak_bytes": _peak_bytes(),
        "multiply_adds": work,
        "tflops": 2e-12 * work / seconds,
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        **facts,
    }


def _random_unet(base_width: int):
    import torch

    from .unet import UNet3d

    torch.manual_seed(0)
    unet = UNet3d(3, 2, base_width).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            # Statistics that keep the features at a size of about 1 from layer to layer, as training does.
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.3, 0.6)
    return unet


def _brain(shape: tuple[int, ...], brain: tuple[int, ...], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random maps of standard deviation 1 in an ellipsoid in the middle of the volume."""
    from scipy.ndimage import gaussian_filter

    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    mask = sum(((a - (n - 1) / 2) / (b / 2)) ** 2 for a, n, b in zip(axes, shape, brain)) < 1
    generator = np.random.default_rng(0)
    maps = np.empty((channels, *shape), dtype=np.float32)
    for map_ in maps:
        gaussian_filter(generator.standard_normal(shape, dtype=np.float32), 1.5, output=map_)
        map_ *= mask / map_.std()
    return maps, mask


def _multiply_adds(base_width: int, shape: tuple[int, ...]) -> float:
    from .layout import multiply_adds_per_voxel

    return multiply_adds_per_voxel(3, 2, base_width) * float(np.prod(shape))


def _peak_bytes() -> int | None:
    """Largest resident memory of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _synchronise(device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(json.loads(sys.argv[1]))) + "\n")

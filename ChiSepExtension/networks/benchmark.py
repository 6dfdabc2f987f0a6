"""Time, memory and accuracy of the inference engine beside plain PyTorch, measured in the same run.

Plain means: the networks as published, float32, eager, on the whole padded volume. Every way is measured in a process
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
from ..geometry import Grid
from ..progress import NEVER, CancelToken, Progress, part, silent
from .devices import processor_name
from .regions import bounding_box

#: Matrix of the published training data: front to back, left to right, up.
SHAPE = (256, 224, 176)

#: Spread of χpara in the published training data, ppb: what a difference of one standard deviation means.
PPB_PER_SD = 35.3

#: Ways of running, the reference first.
WAYS = ("plain", "engine-float32", "engine-auto")

#: Networks of the pipeline without R2, in the order they run, with their channels in and out.
ROLES = {"qsm": (1, 1), "r2prime": (1, 1), "separation": (3, 2)}

#: Largest part of plain PyTorch's time and memory, by kind of device.
AIMS = {"cpu": (0.35, 0.35), "cuda": (0.25, 0.5), "mps": (0.35, 0.5)}

#: Noise of the simulated maps: field in ppm, R2* and R2′ in s⁻¹.
FIELD_NOISE_PPM, RATE_NOISE_HZ = 8e-4, 1.0


def benchmark_inference(
    *,
    device: str = "cpu",
    base_width: int = 32,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = 1.0,
    ways: tuple[str, ...] = WAYS,
    roles: tuple[str, ...] | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    cancel: CancelToken = NEVER,
) -> dict[str, Any]:
    """Run networks with random weights on the maps of a simulated head, in each way, and compare.

    Parameters
    ----------
    device
        "cpu", "cuda", "cuda:N" or "mps".
    base_width, shape, spacing_mm
        Size of the networks and of the padded volume, and its voxel size; the head has the size of a head.
    ways
        "plain", "plain-box" (the plain networks on the brain's box alone, which changes the map), "engine-float32",
        "engine-bfloat16", "engine-auto", "engine-float32-small" (the engine's smallest plan). Ratios need "plain".
    roles
        Networks to run one after the other, each fed with what came before, of `ROLES`. By default all three on a
        GPU and the separation network on the CPU, where each takes plain PyTorch minutes.
    threads
        Of torch on the CPU; None for its default.
    seed
        Of the head.

    Returns
    -------
    JSON-able: processor, settings, and per way seconds (on a GPU the best of three, the first apart), peak bytes,
    ratios to plain, TFLOP/s beside what the device reaches in a large matrix product of the same number type, and the
    difference to plain: largest in ppb (one normalised unit standing for 35 ppb) and NRMSE.
    """
    kind = device.partition(":")[0]
    roles = roles or (("separation",) if kind == "cpu" else tuple(ROLES))
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="chisep-benchmark-") as folder:
        data = Path(folder) / "head.npz"
        maps, mask = _head(shape, spacing_mm, seed, progress=part(progress, 0.0, 0.2), cancel=cancel)
        np.savez(data, mask=mask, **maps)
        for count, way in enumerate(ways):
            cancel.check()
            progress(0.2 + 0.8 * count / len(ways), f"Benchmark: {way}")
            output = Path(folder) / f"{way}.npy"
            settings = {
                "way": way,
                "device": device,
                "base_width": base_width,
                "roles": list(roles),
                "threads": threads,
                "data": str(data),
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
        "device_name": next(iter(results.values()))["device_name"],
        "base_width": base_width,
        "roles": list(roles),
        "shape": list(shape),
        "brain_box": list(bounding_box(mask).shape),
        "ways": results,
    }


def table(figures: dict[str, Any]) -> str:
    """Figures as text."""
    head = (
        f"{figures['device_name']}, {figures['cores']} cores; {' + '.join(figures['roles'])}, "
        f"width {figures['base_width']}, {tuple(figures['shape'])}, brain {tuple(figures['brain_box'])}"
    )
    lines = [head, f"{'way':22} {'type':9} {'s':>7} {'×':>6} {'GB':>6} {'×':>6} {'TFLOP/s':>8} {'of':>7}"]
    lines[-1] += f" {'max ppb':>9} {'NRMSE':>9}"
    for way, result in figures["ways"].items():
        on_device = "device_peak_bytes" in result
        peak = result["device_peak_bytes"] if on_device else result["peak_bytes"]
        ratio = result.get("device_peak_ratio" if on_device else "peak_ratio", float("nan"))
        lines.append(
            f"{way:22} {'/'.join(sorted(set(result['dtypes']))):9} {result['seconds']:7.2f} "
            f"{result.get('time_ratio', float('nan')):6.3f} {(peak or 0) / 1e9:6.2f} {ratio:6.3f} "
            f"{result['tflops']:8.2f} {result['limit_tflops']:7.2f} "
            f"{result.get('largest_difference_ppb', float('nan')):9.2g} {result.get('nrmse', float('nan')):9.2g}"
        )
    return "\n".join(lines)


def missed_aims(figures: dict[str, Any]) -> list[str]:
    """What the engine misses of `AIMS`, in words."""
    best = figures["ways"].get("engine-auto", {})
    time_aim, memory_aim = AIMS[figures["device"].partition(":")[0]]
    missed = []
    if best.get("time_ratio", 0.0) > time_aim:
        missed.append(f"time {best['time_ratio']:.2f} of plain PyTorch's > {time_aim}")
    peak = best.get("device_peak_ratio", best.get("peak_ratio"))
    if peak is not None and peak > memory_aim:
        missed.append(f"memory {peak:.2f} of plain PyTorch's > {memory_aim}")
    return missed


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
    scale = np.maximum(exact.std(axis=(1, 2, 3), dtype=np.float64), 1e-9)[:, None, None, None]
    result["largest_difference_ppb"] = float(np.abs(difference / scale).max() * PPB_PER_SD)
    result["nrmse"] = float(np.sqrt(np.mean((difference / scale) ** 2)))
    result["time_ratio"] = result["seconds"] / plain["seconds"]
    for key in ("peak_bytes", "device_peak_bytes"):
        if result.get(key) and plain.get(key):
            result[key.replace("bytes", "ratio")] = result[key] / plain[key]


def _measure(settings: dict[str, Any]) -> dict[str, Any]:
    """One way, in this process."""
    import torch

    from .inference import choose_device

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    device = choose_device(settings["device"])
    with np.load(settings["data"]) as data:
        maps = {name: data[name] for name in data.files}
    mask = maps.pop("mask")
    unets = {role: _random_unet(settings["base_width"], role) for role in settings["roles"]}
    facts: dict[str, Any] = {"baseline_bytes": _peak_bytes()}
    if settings["way"].startswith("plain"):
        run = _Plain(unets, device, mask, box_only=settings["way"] == "plain-box")
    elif settings["way"].startswith("engine"):
        run = _InEngine(unets, settings["device"], mask, *settings["way"].split("-")[1:])
    else:
        raise ValueError(f"Unknown way {settings['way']!r}.")
    del unets
    _reset_peak(device)
    seconds = []
    for _ in range(1 if device.type == "cpu" else 3):  # a GPU's first run loads kernels
        started = time.perf_counter()
        output = _chain(run, maps, mask)
        seconds.append(time.perf_counter() - started)
    facts.update(run.facts())
    np.save(settings["output"], output)
    facts["device_name"] = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    if device.type == "cuda":
        facts["device_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    work = facts["multiply_adds"]
    return {
        "seconds": min(seconds),
        "first_seconds": seconds[0],
        "peak_bytes": _peak_bytes(),
        "tflops": 2e-12 * work / min(seconds),
        "limit_tflops": _limit_tflops(device, facts["dtypes"][-1]),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        **facts,
    }


def _chain(run: Any, maps: dict[str, np.ndarray], mask: np.ndarray) -> np.ndarray:
    """Output of the last network on the brain's box, the earlier ones' outputs, masked, in their places."""
    maps, output = dict(maps), None
    for role in run.roles:
        channels = {"qsm": ["field"], "r2prime": ["r2star"], "separation": ["qsm", "field", "r2prime"]}[role]
        output = run(role, np.stack([maps[name] for name in channels]))
        if role != "separation":
            maps[role] = output[0] * mask
    inside = bounding_box(mask)
    return output[(slice(None), *(slice(a, b) for a, b in zip(inside.start, inside.stop)))]


class _Plain:
    """Networks as PyTorch runs them, on the whole volume or on the brain's box."""

    def __init__(self, unets: dict[str, Any], device: Any, mask: np.ndarray, box_only: bool) -> None:
        self.roles, self.device, self.box_only = list(unets), device, box_only
        self.networks = {role: unet.to(device) for role, unet in unets.items()}
        self.inside = tuple(slice(a, b) for a, b in zip(bounding_box(mask).start, bounding_box(mask).stop))
        self.work = 0.0

    def __call__(self, role: str, x: np.ndarray) -> np.ndarray:
        import torch

        from .inference import exact_float32
        from .layout import MULTIPLE, multiply_adds_per_voxel

        view = (slice(None), *self.inside) if self.box_only else (slice(None),) * 4
        part_of_x = x[view]
        padded = np.pad(part_of_x, [(0, 0), *((0, -n % MULTIPLE) for n in part_of_x.shape[1:])])
        unet = self.networks[role]
        if role == self.roles[0]:
            self.work = 0.0
        voxels = float(np.prod(padded.shape[1:]))
        self.work += voxels * multiply_adds_per_voxel(unet.in_channels, unet.out_channels, unet.base_width)
        with torch.inference_mode(), exact_float32():
            output = unet(torch.from_numpy(padded)[None].to(self.device))[0].cpu().numpy()
        result = np.zeros((len(output), *x.shape[1:]), np.float32)
        result[view] = output[(slice(None), *(slice(0, n) for n in part_of_x.shape[1:]))]
        return result

    def facts(self) -> dict[str, Any]:
        return {"multiply_adds": self.work, "dtypes": ["float32"] * len(self.roles)}


class _InEngine:
    """The same networks in the inference engine."""

    def __init__(self, unets: dict[str, Any], device: str, mask: np.ndarray, number_type: str, small: str = "") -> None:
        from . import inference
        from .folding import fold

        if small:
            inference.LADDER = inference.LADDER[-1:]
        self.roles, self.mask = list(unets), mask
        self.networks = {role: fold(unet.state_dict()) for role, unet in unets.items()}
        self.engine = inference.Engine(device, dtype=number_type, fall_back=False)

    def __call__(self, role: str, x: np.ndarray) -> np.ndarray:
        return self.engine.run(self.networks[role], x, self.mask, name=role)

    def facts(self) -> dict[str, Any]:
        reports = self.engine.reports[-len(self.roles) :]
        return {
            "multiply_adds": sum(report.cost.multiply_adds for report in reports),
            "dtypes": [report.dtype for report in reports],
            "slabs": asdict(reports[-1].slabs),
            "planned_bytes": max(report.cost.feature_bytes for report in reports),
            "precision_checks": [report.precision_check and asdict(report.precision_check) for report in reports],
        }


def _limit_tflops(device: Any, dtype: str) -> float:
    """What the device reaches in a large matrix product of the number type, TFLOP/s: the best of five."""
    import torch

    n = 2048 if device.type == "cpu" else 8192
    a, b = (torch.rand((n, n), device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(5):
        _synchronise(device)
        started = time.perf_counter()
        product = a @ b
        _synchronise(device)
        best = min(best, time.perf_counter() - started)
        del product
    return 2e-12 * n**3 / best


def _random_unet(base_width: int, role: str = "separation"):
    """Network with random weights whose features and outputs have a size of about 1, as training makes them."""
    import torch

    from .unet import UNet3d

    torch.manual_seed(list(ROLES).index(role))
    unet = UNet3d(*ROLES[role], base_width).eval()
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.3, 0.6)
    with torch.inference_mode():
        smooth = torch.nn.functional.avg_pool3d(torch.randn(1, unet.in_channels, 48, 48, 48), 3, 1, 1) * 5
        output = unet(smooth)
    with torch.no_grad():
        spread, mean = output.std((0, 2, 3, 4)).clone(), output.mean((0, 2, 3, 4)).clone()
        unet.out.conv.weight /= spread.view(-1, 1, 1, 1, 1)
        unet.out.conv.bias.sub_(mean).div_(spread)
    return unet


def _head(
    shape: tuple[int, int, int], spacing_mm: float, seed: int, *, progress: Progress, cancel: CancelToken
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Noisy maps of the project's head, normalised and masked, in the networks' axis order; and the brain mask."""
    from ..dipole import dipole_field
    from ..phantom.head import make_head
    from .orientation import to_network

    a, b, c = shape
    grid = Grid.from_spacing((c, a, b), (spacing_mm,) * 3)
    head = make_head(grid, seed=seed, progress=progress, cancel=cancel)
    mask, noise = head.brain_mask, np.random.default_rng(seed + 1)
    if not mask.any():
        raise InputError(f"No brain fits into {shape} voxels of {spacing_mm} mm.", "Choose larger voxels.")
    chi = head.chi_para - head.chi_dia

    def noisy(values: np.ndarray, sigma: float) -> np.ndarray:
        return values + np.float32(sigma) * noise.standard_normal(values.shape, dtype=np.float32)

    maps = {
        "field": noisy(dipole_field(chi, grid), FIELD_NOISE_PPM),
        "qsm": noisy(chi, 5 * FIELD_NOISE_PPM),
        "r2star": noisy(head.r2star_hz, RATE_NOISE_HZ),
        "r2prime": np.maximum(noisy(head.r2prime_hz, RATE_NOISE_HZ), 0),
    }
    for name, values in maps.items():
        inside = values[mask]
        maps[name] = to_network(np.where(mask, (values - inside.mean()) / inside.std(), 0).astype(np.float32))
    return maps, to_network(mask)


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
    elif device.type == "mps":
        torch.mps.synchronize()


def _reset_peak(device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(json.loads(sys.argv[1]))) + "\n")

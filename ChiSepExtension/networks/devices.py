"""Which devices can run networks, with names and free memory, without importing torch in the asking process.

Run as a module it is the child process that imports torch and answers in one line of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """A device by the name that ``--device`` takes, and what a person wants to know of it."""

    name: str
    description: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class DeviceList:
    """Devices, the best first, and the reason why there are none or one is missing."""

    devices: tuple[Device, ...]
    torch_version: str = ""
    problem: str = ""


def list_devices(python: str | None = None, timeout_s: float = 60.0) -> DeviceList:
    """Ask a child process for the devices.

    Parameters
    ----------
    python
        Interpreter with torch; by default this one.
    timeout_s
        Importing torch the first time takes up to 20 s on a slow disk.
    """
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    command = [python or sys.executable, "-m", "ChiSepExtension.networks.devices"]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return DeviceList((), problem=f"torch did not answer within {timeout_s:.0f} s.")
    except OSError as error:
        return DeviceList((), problem=f"{command[0]} cannot be started: {error}.")
    try:
        answer = json.loads(child.stdout.strip().splitlines()[-1])
        devices = tuple(Device(**device) for device in answer.pop("devices"))
        return DeviceList(devices, **answer)
    except (IndexError, ValueError, TypeError, KeyError):
        lines = child.stderr.strip().splitlines()
        return DeviceList((), problem=lines[-1] if lines else f"torch ended with status {child.returncode}.")


def query_devices() -> DeviceList:
    """The devices of this computer; imports torch."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of it cannot be loaded, on Windows
        return DeviceList((), problem=f"PyTorch is not installed, or broken ({error}).")
    from .memory import free_bytes, host_total_bytes, mps_total_bytes

    devices, problem = [], ""
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            try:
                free, total = torch.cuda.mem_get_info(index)
                devices.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), int(free), int(total)))
            except RuntimeError as error:  # in use by somebody else alone, or too old for this PyTorch
                problem = f"cuda:{index} cannot be used: {str(error).splitlines()[0]}"
    if torch.backends.mps.is_available():
        device = torch.device("mps")
        devices.append(Device("mps", "Apple GPU", free_bytes(device), mps_total_bytes()))
    description = f"{processor_name()}, {os.cpu_count()} cores"
    devices.append(Device("cpu", description, free_bytes(torch.device("cpu")), host_total_bytes()))
    return DeviceList(tuple(devices), torch_version=str(torch.__version__), problem=problem)


def processor_name() -> str:
    """The CPU's name as its maker gives it, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if answer:
            return answer
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(query_devices())) + "\n")

"""How much memory a device has free, and whether an error means that there was not enough."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import torch

#: torch 2.5 moved it out of `torch.cuda`; Intel Macs stay on 2.2.
_OutOfMemory = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)


def free_bytes(device: torch.device) -> int:
    """Bytes that a run on ``device`` can count on now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds from earlier runs without using it is free for this one.
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(min(mps_total_bytes() - torch.mps.current_allocated_memory(), host_free_bytes()))
    return host_free_bytes()


def mps_total_bytes() -> int:
    """What an Apple GPU may use of the memory it shares; three quarters of it where torch is too old to tell."""
    recommended = getattr(torch.mps, "recommended_max_memory", None)
    return int(recommended() if recommended else 0.75 * host_total_bytes())


def host_free_bytes() -> int:
    """Main memory that can be had without swapping, within the limit of a container if there is one."""
    if sys.platform == "win32":
        return int(_windows_status().free)
    if sys.platform == "darwin":
        return _mac_free_bytes()
    free = _meminfo("MemAvailable")
    if free is None:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    room = _container_room(Path("/sys/fs/cgroup"))
    return free if room is None else min(free, room)


def host_total_bytes() -> int:
    """Main memory of the computer."""
    if sys.platform == "win32":
        return int(_windows_status().total)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """True for the ways in which torch and Python say that memory ran out."""
    if isinstance(error, MemoryError | _OutOfMemory):
        return True
    # CPU and MPS allocators, cuDNN and oneDNN raise plain RuntimeErrors; only their wording tells.
    text = str(error).lower()
    wordings = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
    return isinstance(error, RuntimeError) and any(wording in text for wording in wordings)


def is_unsupported(error: BaseException) -> bool:
    """True if the device lacks an operation (3-D layers on Apple GPUs, in older versions of torch or macOS; any
    operation on a GPU that the installed torch was not built for)."""
    if isinstance(error, NotImplementedError):
        return True
    text = str(error).lower()
    # MPS says the first two, and the third of bfloat16 as a TypeError; cuDNN the fourth; a GPU that is too old or too
    # new for the installed PyTorch the last.
    wordings = (
        "not supported on mps",
        "not implemented for",
        "not supported by mps",
        "only supported on macos",
        "status_not_supported",
        "no kernel image",
    )
    return isinstance(error, RuntimeError | TypeError) and any(wording in text for wording in wordings)


def release(device: torch.device) -> None:
    """Give cached blocks back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _meminfo(name: str) -> int | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _container_room(folder: Path) -> int | None:
    """Bytes left under a cgroup v2 limit; None without one. Page cache counts as room: it is given up on demand."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))


def _windows_status():
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "page", "page_free", "virtual", "own", "extended")
        ]

    status = Status()
    status.length = ctypes.sizeof(status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return status


def _mac_free_bytes() -> int:
    text = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=True).stdout
    page = int(text.split("page size of ")[1].split()[0])
    counts = {}
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(":")
        if value.strip().rstrip(".").isdigit():
            counts[name] = int(value.strip().rstrip("."))
    names = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    return page * sum(counts.get(name, 0) for name in names)

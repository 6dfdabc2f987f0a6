"""Shared libraries that the widget tests need from the system, and the Debian packages that hold them.

Qt's offscreen platform and software rendering by EGL need no display, but they do need these. Run by `make` with any
Python ≥ 3.10 and nothing installed: prints the Debian/Ubuntu packages that are missing, space separated.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys

#: Shared library (as the loader knows it) → Debian/Ubuntu package.
LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libglib-2.0.so.0": "libglib2.0-0",
}
SOFTWARE_DRIVER = "libgl1-mesa-dri"

# In a process of its own: a broken driver ends the process instead of reporting an error. Surfaceless first: without a
# display the default platform cannot be opened even where software rendering works.
EGL_PROBE = """
import ctypes
SURFACELESS_MESA = 0x31DD
egl = ctypes.CDLL("libEGL.so.1")
egl.eglGetPlatformDisplay.restype = egl.eglGetDisplay.restype = ctypes.c_void_p
egl.eglGetPlatformDisplay.argtypes = [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
egl.eglGetDisplay.argtypes = [ctypes.c_void_p]
egl.eglInitialize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
displays = egl.eglGetPlatformDisplay(SURFACELESS_MESA, None, None), egl.eglGetDisplay(None)
raise SystemExit(0 if any(display and egl.eglInitialize(display, None, None) for display in displays) else 1)
"""


def can_load(library: str) -> bool:
    """Whether the loader finds a shared library and all that it depends on."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def software_rendering_works() -> bool:
    """Whether EGL opens a display: false without a driver, and without libEGL."""
    probe = subprocess.run([sys.executable, "-c", EGL_PROBE], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    return probe.returncode == 0


def missing_packages() -> list[str]:
    """Debian/Ubuntu packages to install before the widget tests can run."""
    missing = [package for library, package in LIBRARIES.items() if not can_load(library)]
    if not software_rendering_works():
        missing.append(SOFTWARE_DRIVER)
    return missing


if __name__ == "__main__":
    sys.stdout.write(" ".join(missing_packages()) + "\n")

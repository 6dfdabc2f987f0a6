#!/bin/sh
# Usage: make_environment.sh PYTHON VENV: a virtual environment with the pinned requirements and this package, editable.
set -eu
python=$1
venv=$2
[ -n "$python" ] || exit 1

# Debian and Ubuntu keep venv in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv"
  else
    echo "Python $version cannot make virtual environments: install the package python$version-venv and repeat." >&2
    exit 1
  fi
fi

"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input -q -r Testing/requirements.txt
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input -q --no-deps --no-build-isolation -e .

# The unrelated package `slicer` would hide the MRML classes: say so here rather than in a hundred failing tests.
"$venv/bin/python" - <<'CHECK'
import slicer

if not hasattr(slicer, "vtkMRMLScene"):
    raise SystemExit("A foreign package `slicer` is installed over slicer-core. Run `make clean` and repeat.")
CHECK

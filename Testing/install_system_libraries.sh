#!/bin/sh
# Usage: install_system_libraries.sh PYTHON: what the widget tests need from the system, by apt-get when we may.
# Never fails: run_layers.py looks again and reports the layers that cannot run.
python=$1
missing=$("$python" Testing/system_libraries.py)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing system packages: $missing"
  # shellcheck disable=SC2086  # a list of package names
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing ||
    echo "apt-get could not install: $missing" >&2
else
  echo "The widget tests need: apt-get install $missing" >&2
fi
exit 0

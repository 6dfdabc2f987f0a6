#!/bin/sh
# Print the first Python between 3.10 and 3.13 that is on the path: python3 itself if it is one of them.
for candidate in python3 python3.12 python3.13 python3.11 python3.10; do
  if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    command -v "$candidate"
    exit 0
  fi
done
echo "No Python 3.10 to 3.13 on the path (slicer-core has wheels for these). Name one: make PYTHON=/path/to/python3.12" >&2
exit 1

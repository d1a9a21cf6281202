#!/bin/sh
# Make a virtual environment with pinned versions: setup.sh PYTHON VENV REQUIREMENT
set -eu
python=$1 venv=$2 requirement=$3
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "setup: $python is not Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv"; then
    echo "setup: $python cannot make a virtual environment (on Debian: apt-get install python3-venv)" >&2
    exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$requirement"

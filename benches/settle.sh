#!/usr/bin/env bash
# Moves what was restored into OUT/r to where the source had it, for the comparison: benches/settle.sh OUT
set -euo pipefail
shopt -s dotglob
mv "$1"/r/* "$1"/
rmdir "$1/r"
# A data set that is one source, `all`, has its content in the folder of that name.
if [ -d "$1/all" ]; then
    mv "$1"/all/* "$1"/
    rmdir "$1/all"
fi

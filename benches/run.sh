#!/usr/bin/env bash
# Measures this program beside tar, zstd and b3sum on the peers' benchmark, and prints its table.
# benches/run.sh [SCALE [RUNS]]; BENCH is the folder with bench.py, WORK one with ten times the data's room.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench=${BENCH:-$here/../../shared/bench}
work=${WORK:-$here/../target/bench}
scale=${1:-0.1} runs=${2:-3}
[ -f "$bench/bench.py" ] || { echo "bench.py is not in $bench: set BENCH to the folder that has it" >&2; exit 1; }
for tool in tar zstd b3sum rsync; do
    command -v "$tool" > /dev/null || { echo "$tool is missing: apt-get install -y $tool" >&2; exit 1; }
done
export STRONGROOM=${STRONGROOM:-$here/../target/release/strongroom} STRONGROOM_BENCHES=$here
STRONGROOM=$(realpath "$STRONGROOM")
[ -x "$STRONGROOM" ] || { echo "$STRONGROOM is missing: cargo build --release" >&2; exit 1; }
mkdir -p "$work"
results=$work/eventlog-$scale-$(date -u +%Y%m%dT%H%M%SZ).jsonl
python3 "$bench/bench.py" run --data-name eventlog --scale "$scale" --runs "$runs" --work "$work" --out "$results" \
    --tools "$bench/peers.toml,$here/strongroom.toml" --peers "${PEERS:-walk,cp,tar-zstd,strongroom,strongroom-confirm,strongroom-archive,strongroom-archive-confirm}"
python3 "$bench/bench.py" table "$results"
echo "raw results: $results"

#!/usr/bin/env bash
# Measures this program beside its peers on their benchmark, and prints its table. Peers that are not installed are left out by name.
# benches/run.sh [SCALE [RUNS [DATA...]]]; BENCH is the folder with bench.py, WORK one with ten times the data's room. DATA is
# eventlog (the default), smallfiles, bigfile.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench=${BENCH:-$here/../../shared/bench}
work=${WORK:-$here/../target/bench}
scale=${1:-0.1} runs=${2:-3}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- eventlog
[ -f "$bench/bench.py" ] || { echo "bench.py is not in $bench: set BENCH to the folder that has it" >&2; exit 1; }
for tool in tar zstd b3sum rsync; do
    command -v "$tool" > /dev/null || { echo "$tool is missing: apt-get install -y $tool" >&2; exit 1; }
done
export STRONGROOM=${STRONGROOM:-$here/../target/release/strongroom} STRONGROOM_BENCHES=$here
STRONGROOM=$(realpath "$STRONGROOM")
[ -x "$STRONGROOM" ] || { echo "$STRONGROOM is missing: cargo build --release" >&2; exit 1; }
mkdir -p "$work"
peers=walk,cp,tar-zstd
for peer in restic rustic borg bupstash; do
    if command -v "$peer" > /dev/null; then peers+=,$peer; else echo "$peer is not installed: left out" >&2; fi
done
peers=${PEERS:-$peers,strongroom,strongroom-confirm,strongroom-archive,strongroom-archive-confirm}
results=$work/$(date -u +%Y%m%dT%H%M%SZ)-$scale.jsonl
for data in "$@"; do
    python3 "$bench/bench.py" run --data-name "$data" --scale "$scale" --runs "$runs" --work "$work" --out "$results" \
        --tools "$bench/peers.toml,$here/strongroom.toml" --peers "$peers"
done
python3 "$bench/bench.py" table "$results"
echo "raw results: $results"

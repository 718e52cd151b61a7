#!/usr/bin/env bash
# Shows how time and memory grow with the number of files, and with the data: benches/scale.sh [FILES... [xGiB...]]
# A number is so many small files (200 to 1800 bytes, 500 a folder); 20GiB is so much data of which no block comes twice, in files of
# 64 MiB. WORK needs twice the room. Each is backed up (deduplicated, sealed), backed up again unchanged, verified and restored.
# 400,000 chunks, up to 100 GB, need no such room where they are made while they are read (TMPDIR needs 14 GB):
# MANY_CHUNKS=400000 cargo test --test it many_chunks -- --nocapture --test-threads 1
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${WORK:-$here/../target/bench}/scale
export STRONGROOM=${STRONGROOM:-$here/../target/release/strongroom} STRONGROOM_BENCHES=$here
STRONGROOM=$(realpath "$STRONGROOM")
[ $# -gt 0 ] || set -- 10000 100000 1000000
[ -x /usr/bin/time ] || { echo "time is missing: apt-get install -y time" >&2; exit 1; }

small() {
    python3 - "$1" "$2" << 'PY'
import os, random, sys
root, count = sys.argv[1], int(sys.argv[2])
lots = random.Random(1)
for number in range(count):
    folder = f"{root}/{number // 50000:03}/{number // 500 % 100:03}"
    if number % 500 == 0:
        os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{number:08}.txt", "w") as file:
        file.write(f"{number} {lots.getrandbits(256):x} " * lots.randint(3, 24))
PY
}

large() {
    # Half of each file's bytes are random, half are text that holds a counter: no block of it comes twice.
    python3 - "$1" "$2" << 'PY'
import os, sys
root, gib = sys.argv[1], int(sys.argv[2])
os.makedirs(root, exist_ok=True)
at = 0
for number in range(gib * 16):
    with open(f"{root}/{number:05}.bin", "wb") as file:
        for _ in range(32):
            file.write(os.urandom(1 << 20))
            text = bytearray()
            while len(text) < 1 << 20:
                text += b"%016d entry of a log with something to say about item %d\n" % (at, at * 7919 % 1000003)
                at += 1
            file.write(text[: 1 << 20])
PY
}

measured() {
    local name=$1
    shift
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" > /dev/null
    read -r wall user system memory < "$work/time"
    printf '%s\t%s\t%s s\t%s CPU s\t%s MB\n' "$size" "$name" "$wall" "$(echo "$user $system" | awk '{print $1 + $2}')" "$((memory / 1000))"
}

for size in "$@"; do
    rm -rf "$work"
    mkdir -p "$work/src" "$work/keys" "$work/repo"
    case $size in
        *GiB) large "$work/src/data" "${size%GiB}" ;;
        *) small "$work/src/data" "$size" ;;
    esac
    "$here/project.sh" "$work/keys/project" "$work/src" "$work/repo" engine
    run=("$STRONGROOM" --project "$work/keys/project")
    measured "walk (find)" find "$work/src" -printf '%s %T@ %C@ %i %m\n'
    measured "first backup" "${run[@]}" run bench -e bench -q
    measured "nothing changed" "${run[@]}" run bench -e bench -q
    measured "check of all content" "${run[@]}" verify latest -e bench --identity "$work/keys/first.key" -q
    measured "restore" "${run[@]}" restore latest -e bench --identity "$work/keys/first.key" --to "$work/out" -q
    printf '%s\trepository\t%s MB\n' "$size" "$(du -sm "$work/repo" | cut -f 1)"
    diff -r "$work/src" "$work/out/all" > "$work/differences" || true
    printf '%s\tpaths that differ\t%s\n' "$size" "$(wc -l < "$work/differences")"
    rm -rf "$work"
done

#!/usr/bin/env bash
# Restores one data set with each tool in turn, each time into a new folder, and deletes nothing before the end: ext4 gives out inodes that
# were deleted in the last minutes only after a long search, so that otherwise whoever comes later pays for whoever came before.
# benches/restore.sh [DATA [SCALE [ROUNDS]]]; BENCH and WORK as for run.sh. What is not installed is left out.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bench=${BENCH:-$here/../../shared/bench}
work=${WORK:-$here/../target/bench}/restore
data=${1:-smallfiles} scale=${2:-1.0} rounds=${3:-3}
export STRONGROOM=${STRONGROOM:-$here/../target/release/strongroom} STRONGROOM_BENCHES=$here
STRONGROOM=$(realpath "$STRONGROOM")
rm -rf "$work" && mkdir -p "$work"
cd "$work"
python3 "$bench/make_dataset.py" gen "$data" "$work/src" --scale "$scale" > "$work/log"
export RESTIC_REPOSITORY=$work/restic RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$work/restic.cache
export RUSTIC_REPOSITORY=$work/rustic RUSTIC_PASSWORD=bench RUSTIC_CACHE_DIR=$work/rustic.cache RUSTIC_NO_PROGRESS=true RUSTIC_LOG_LEVEL=warn
export BUPSTASH_REPOSITORY=$work/bupstash BUPSTASH_KEY=$work/bupstash.key BUPSTASH_QUERY_CACHE=$work/bupstash.query
prepare() {
    case $1 in
        tar-zstd) tar --xattrs --acls --sparse -C src -cf - . | zstd -q -3 -T2 -o src.tar.zst ;;
        restic | rustic) "$1" init && (cd src && "$1" backup .) ;;
        bupstash) bupstash init && bupstash new-key -o bupstash.key && (cd src && bupstash put -q --xattrs --compression zstd:3 name=bench . > "$work/bupstash.id") ;;
        strongroom) mkdir keys repo && "$here/project.sh" "$work/keys/project" "$work/src" "$work/repo" engine && "$STRONGROOM" --project keys/project run bench -e bench -q ;;
    esac >> "$work/log" 2>&1
}
restore() {
    case $1 in
        tar-zstd) zstd -qdc src.tar.zst | tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf - -C "$2" ;;
        restic) restic restore -q latest --target "$2" ;;
        rustic) rustic restore latest "$2" ;;
        bupstash) bupstash restore -q --ownership --xattrs --into "$2" "id=$(cat bupstash.id)" ;;
        strongroom) "$STRONGROOM" --project keys/project restore latest -e bench --identity keys/first.key --to "$2" -q ;;
    esac >> "$work/log" 2>&1
    sync
}
tools=()
for tool in tar-zstd bupstash restic rustic strongroom; do
    [ "$tool" = strongroom ] || [ "$tool" = tar-zstd ] || command -v "$tool" > /dev/null || continue
    prepare "$tool"
    tools+=("$tool")
done
for round in $(seq "$rounds"); do
    for tool in "${tools[@]}"; do
        mkdir "out-$round-$tool"
        begin=$(date +%s.%N)
        restore "$tool" "$work/out-$round-$tool"
        printf '{"data": "%s", "scale": %s, "step": "restore and sync", "peer": "%s", "run": %s, "wall": %.2f}\n' \
            "$data" "$scale" "$tool" "$round" "$(awk "BEGIN { print $(date +%s.%N) - $begin }")"
    done
done
rm -rf "$work"

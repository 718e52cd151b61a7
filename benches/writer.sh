#!/usr/bin/env bash
# How long a service waits for its writes while it is backed up: the example service's writer beside backups one after the
# other, and the same writer for the same time without them. benches/writer.sh [BACKUPS [RATE]]
#
# A write goes from its first byte in the log to its commit in the last projection. One in eight pauses for 2 ms by itself.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
backups=${1:-50} rate=${2:-200}
target=${CARGO_TARGET_DIR:-$here/../target}
strongroom=$(realpath "${STRONGROOM:-$target/release/strongroom}")
service=$(realpath "${SERVICE:-$(dirname "$strongroom")/examples/service}")
for program in "$strongroom" "$service"; do
    [ -x "$program" ] || { echo "$program is missing: make build ENV=dev" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'touch "$work/end"; wait; rm -rf "$work"' EXIT
mkdir "$work/project"
cp -r "$here/../pipelines" "$work/project"
cd "$work/project"
"$service" init --env dev --scale 4 > /dev/null

"$service" write --env dev --rate "$rate" --until "$work/end" > "$work/with" &
writer=$!
begun=$EPOCHREALTIME
for number in $(seq "$backups"); do
    code=0
    "$strongroom" backup --env dev --quiet > "$work/said" 2>&1 || code=$?
    [ "$code" -eq 0 ] || { echo "backup $number ended with $code:" >&2; cat "$work/said" >&2; exit 1; }
done
milliseconds=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
touch "$work/end"
wait "$writer"
"$service" write --env dev --rate "$rate" --for "${milliseconds}ms" > "$work/without"
"$service" check --env dev > /dev/null

echo "$backups backups in $((milliseconds / 1000)) s beside a writer of $rate events a second"
echo "with backups:    $(cat "$work/with")"
echo "without backups: $(cat "$work/without")"

#!/usr/bin/env bash
# Writes a project that backs SRC up to TARGET: benches/project.sh PROJECT SRC TARGET WORD...
# Words: `engine` (deduplicated and sealed to two keys, `first.key` beside the project), `confirm` (databases checked, everything new
# read back and compared, what was restored judged; without it none of this, as no peer does).
set -euo pipefail
project=$1 src=$2 target=$3
shift 3
words=" $* "
mkdir -p "$project/pipelines/environments"
{
    cat <<TOML
schema-version = 1
description = "a benchmark's data"
[path]
src = "$src"
[target.local]
url = "file://$target"
TOML
    if [[ $words == *" engine "* ]]; then
        recipients=
        for key in first second; do
            "$STRONGROOM" keys new "$project/../$key.key" -q > /dev/null
            recipients+="\"$(sed -n 's/^# public key: //p' "$project/../$key.key")\", "
        done
        echo "[encryption]"
        echo "recipients = [${recipients%, }]"
    fi
} > "$project/pipelines/environments/bench.toml"
source() {
    [ -e "$src/$3" ] || return 0
    printf '  [[step.source]]\n  name = "%s"\n  type = "%s"\n  path = "{{path.src}}/%s"\n' "$1" "$2" "$4"
}
step() {
    printf '[[step]]\nid = "%s"\ntype = "%s"\n' "$1" "$2"
}
{
    printf 'schema-version = 1\nname = "bench"\ndescription = "a benchmark"\n'
    step capture snapshot
    if [ -e "$src/events" ]; then
        source db sqlite db 'db/*.sqlite'
        [[ $words == *" confirm "* ]] || echo '  check = "none"'
        source events append-log events events
        source artifacts files artifacts artifacts
        source config files config config
    else
        printf '  [[step.source]]\n  name = "all"\n  type = "files"\n  path = "{{path.src}}"\n'
    fi
    [[ $words != *" engine "* ]] || step change deduplicate
    step pack compress
    printf 'codec = "zstd"\nlevel = 3\n'
    [[ $words != *" engine "* ]] || step seal encrypt
    step digest checksum
    step store upload
    printf 'targets = ["local"]\n'
    [[ $words != *" confirm "* ]] || { step proof confirm; echo 'by = "read-back"'; }
} > "$project/pipelines/bench.toml"
[[ $words == *" confirm "* ]] || {
    printf 'schema-version = 1\nname = "restore"\ndescription = "a benchmark: restores what the stored bytes prove, and judges nothing more"\n'
    printf '[arg.backup]\ndescription = "a backup"\nrequired = true\nexample = "latest"\n'
    step choose select
    echo 'backup = "{{arg.backup}}"'
    step integrity verify
    echo 'level = "objects"'
    step guard rollback-point
    step stage restore
    step replace swap
} > "$project/pipelines/restore.toml"

#!/usr/bin/env bash
# Writes a project that backs SRC up to TARGET: benches/project.sh PROJECT SRC TARGET with-confirm|without-confirm
set -euo pipefail
project=$1 src=$2 target=$3 confirm=$4
mkdir -p "$project/pipelines/environments"
cat > "$project/pipelines/environments/bench.toml" <<TOML
schema-version = 1
description = "a benchmark's data"
[path]
src = "$src"
[target.local]
url = "file://$target"
TOML
{
    cat <<'TOML'
schema-version = 1
name = "bench"
description = "databases, log, artifacts, configuration"
[[step]]
id = "capture"
type = "snapshot"
  [[step.source]]
  name = "db"
  type = "sqlite"
  path = "{{path.src}}/db/*.sqlite"
  [[step.source]]
  name = "events"
  type = "append-log"
  path = "{{path.src}}/events"
  [[step.source]]
  name = "artifacts"
  type = "files"
  path = "{{path.src}}/artifacts"
  [[step.source]]
  name = "config"
  type = "files"
  path = "{{path.src}}/config"
[[step]]
id = "pack"
type = "compress"
codec = "zstd"
level = 3
[[step]]
id = "digest"
type = "checksum"
[[step]]
id = "store"
type = "upload"
targets = ["local"]
TOML
    if [ "$confirm" = with-confirm ]; then
        printf '[[step]]\nid = "proof"\ntype = "confirm"\nby = "read-back"\n'
    fi
} > "$project/pipelines/bench.toml"

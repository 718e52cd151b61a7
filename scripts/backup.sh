#!/usr/bin/env bash
# Backs up an environment: scripts/backup.sh ENV [arguments of `strongroom backup`]
#
# For schedulers: ends with strongroom's own exit code (docs/reference/exit-codes.md), which `make` would turn into 2.
set -euo pipefail

environment=${1:-}
if [[ -z $environment || $environment == -* ]]; then
    echo "usage: scripts/backup.sh ENV [arguments of 'strongroom backup']" >&2
    exit 2
fi
shift

# shellcheck source=scripts/program.sh
. "$(dirname "${BASH_SOURCE[0]}")/program.sh"
[ "$environment" != dev ] || example_data
exec "$program" backup --env "$environment" --project "$project" "$@"

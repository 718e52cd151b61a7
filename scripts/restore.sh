#!/usr/bin/env bash
# Restores a backup: scripts/restore.sh ENV BACKUP [arguments of `strongroom restore`]
#
# Ends with strongroom's own exit code (docs/reference/exit-codes.md), which `make` would turn into 2.
set -euo pipefail

environment=${1:-}
backup=${2:-}
if [[ -z $environment || -z $backup || $environment == -* || $backup == -* ]]; then
    echo "usage: scripts/restore.sh ENV BACKUP [arguments of 'strongroom restore']" >&2
    exit 2
fi
shift 2

# shellcheck source=scripts/program.sh
. "$(dirname "${BASH_SOURCE[0]}")/program.sh"
exec "$program" restore "$backup" --env "$environment" --project "$project" "$@"

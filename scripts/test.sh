#!/usr/bin/env bash
# Runs all tests: scripts/test.sh [arguments of the test runner]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/parts.sh
if cargo nextest --version >/dev/null 2>&1; then
    profile=${NEXTEST_PROFILE:-default}
    [ -z "${STRONGROOM_TORTURE:-}" ] || profile=torture
    set -- nextest run --locked --profile "$profile" "$@"
else
    set -- test --locked "$@"
fi
echo "+ cargo $*"
exec cargo "$@"

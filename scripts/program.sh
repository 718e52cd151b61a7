# shellcheck shell=bash
# Sourced by the other scripts: sets `project`, and `program` to the strongroom to use.
#
# In this order: the one that STRONGROOM names, the one that was built here, the installed one, else one is built now.
# A present one is not built anew, so that a scheduled run starts no compiler.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
built=${CARGO_TARGET_DIR:-$project/target}/release

build() {
    echo "+ cargo build --release --locked $*" >&2
    (cd "$project" && cargo build --release --locked "$@" >&2) || exit 1
}

if [ -n "${STRONGROOM:-}" ]; then
    program=$STRONGROOM
elif [ -x "$built/strongroom" ]; then
    program=$built/strongroom
elif program=$(command -v strongroom); then
    :
else
    build --bin strongroom --example service
    program=$built/strongroom
fi

# Makes the example service's data, which the environment `dev` is about, where there is none.
example_data() {
    [ -e "$project/examples/service/var/dev" ] && return
    local service
    service=$(dirname "$program")/examples/service
    if [ ! -x "$service" ]; then
        build --bin strongroom --example service
        service=$built/examples/service
    fi
    "$service" init --env dev --var "$project/examples/service/var" >&2
}

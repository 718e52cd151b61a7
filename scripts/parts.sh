#!/usr/bin/env bash
# Installs the tools that the tests use and that are missing. Other people's tools judge what this program made:
# a tree restored by it is compared by rsync, an archive of it is unpacked by zstd and tar.
set -euo pipefail

# Command, and the Debian package that has it.
parts=(
    sqlite3:sqlite3
    zstd:zstd
    gzip:gzip
    rsync:rsync
    b3sum:b3sum
    setfattr:attr
    setfacl:acl
    tar:tar
    unshare:util-linux
    nsenter:util-linux
)

missing=()
for part in "${parts[@]}"; do
    command -v "${part%%:*}" >/dev/null || missing+=("${part##*:}")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

install="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "missing for the tests: ${missing[*]} (Debian's names); install them and call again" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "missing for the tests: ${missing[*]}; run this line and call again:" >&2
    echo "    sudo $install" >&2
    exit 1
fi
echo "+ $install"
export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh machine may be absent or old, so a failure is tried once more with new ones.
$install || { apt-get update && $install; }

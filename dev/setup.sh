#!/bin/sh
# Make .venv with netdsl in it, on Debian 12 or later; quick when there is nothing left to do.
#
#   sh dev/setup.sh        for development: everything that the tests need
#   sh dev/setup.sh run    only what running netdsl needs
#
# Missing Debian packages are installed when this runs as root, and named when it does not.
# PYTHON=/path/to/python3 chooses another interpreter than the first python3.
set -eu

cd "$(dirname "$0")/.."
mode=${1:-dev}
python=${PYTHON:-python3}
PATH=$PATH:/usr/sbin:/sbin # where an ordinary user does not look for ip, bridge and sysctl

# need COMMAND PACKAGE: remember the package unless the command is there.
missing=
need() {
    command -v "$1" >/dev/null || case " $missing " in *" $2 "*) ;; *) missing="$missing $2" ;; esac
}

case $mode in
dev)
    need ip iproute2
    need bridge iproute2
    need tc iproute2
    need ping iputils-ping
    need tcpdump tcpdump
    need nft nftables
    need strace strace
    need unshare util-linux
    need nsenter util-linux
    need ps procps
    need sysctl procps
    extras='[dev]'
    ;;
run)
    need ip iproute2 # not for netdsl itself: to look at what it made
    need ping iputils-ping
    extras=
    ;;
*)
    echo "usage: sh dev/setup.sh [dev|run]" >&2
    exit 2
    ;;
esac
# Debian's python3 has venv without ensurepip until python3-venv is there; other builds have both.
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "dev/setup.sh: missing Debian packages; as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    echo "dev/setup.sh: installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "dev/setup.sh: $python is older than Python 3.11; name a newer one with PYTHON=..." >&2
    exit 1
}

# The stamp says what .venv was made from: unchanged, there is nothing to install. Its first line is what a virtual
# environment cannot survive a change of: its place and its interpreter.
stamp=.venv/setup-stamp
home="$PWD $("$python" -c 'import sys; print(sys.base_prefix, *sys.version_info)')"
project=$(cksum <pyproject.toml)
has() { [ -x .venv/bin/netdsl ] && grep -qxF "$1" "$stamp" 2>/dev/null; }

if ! has "$home" || ! .venv/bin/python -c ''; then
    "$python" -m venv --clear .venv
fi
if ! has "dev $project" && ! has "$mode $project"; then
    .venv/bin/python -m pip install -qq --disable-pip-version-check --config-settings editable_mode=compat --editable ".$extras"
    printf '%s\n' "$home" "$mode $project" >"$stamp"
fi

# Bytecode is compiled here, once, so that the first command starts as fast as the others.
for folder in netdsl stacks tests; do
    if [ -d "$folder" ]; then .venv/bin/python -m compileall -q "$folder"; fi
done

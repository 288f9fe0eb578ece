#!/bin/sh
# Installs what jird needs and this machine lacks: Gambit and a C compiler.
set -eu
missing=
command -v gsi >/dev/null 2>&1 && command -v gsc >/dev/null 2>&1 || missing="$missing gambc"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
	echo "jird: missing:$missing. Install Gambit (https://gambitscheme.org) and a C compiler;" >&2
	echo "jird: on Debian, as root: apt-get install$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null

#!/bin/sh
# Installs what jird needs and this machine lacks: Gambit and a C compiler, and for
# `./setup.sh bench` Erlang, beside which restarts are measured.
set -eu
missing=
command -v gsi >/dev/null 2>&1 && command -v gsc >/dev/null 2>&1 || missing="$missing gambc"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ "${1:-}" != bench ] || command -v erlc >/dev/null 2>&1 || missing="$missing erlang-base"
[ -n "$missing" ] || exit 0

refuse() {
	echo "jird: missing:$missing; $1" >&2
	echo "jird: on Debian, as root: apt-get install$missing" >&2
	echo "jird: elsewhere: Gambit (https://gambitscheme.org, gsi and gsc on PATH) and a C compiler named gcc" >&2
	exit 1
}

command -v apt-get >/dev/null 2>&1 || refuse "there is no apt-get here to install it"
[ "$(id -u)" = 0 ] || refuse "installing it needs root"
echo "jird: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || refuse "apt-get failed, see above"

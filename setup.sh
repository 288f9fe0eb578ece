#!/bin/sh
# Installs what jird needs and this machine lacks: Gambit and a C compiler; for
# `./setup.sh bench` Erlang, beside which restarts are measured; and for `./setup.sh test`
# Chromium, in which pages are looked at: without it that one test skips, and says so.
set -eu
missing=
command -v gsi >/dev/null 2>&1 && command -v gsc >/dev/null 2>&1 || missing="$missing gambc"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ "${1:-}" != bench ] || command -v erlc >/dev/null 2>&1 || missing="$missing erlang-base"
wanted=
[ "${1:-}" != test ] || command -v chromium >/dev/null 2>&1 || wanted=" chromium"
[ -n "$missing$wanted" ] || exit 0

refuse() {
	[ -n "$missing" ] || { echo "jird: no chromium: $1; the test of pages will be skipped" >&2; exit 0; }
	echo "jird: missing:$missing; $1" >&2
	echo "jird: on Debian, as root: apt-get install$missing" >&2
	echo "jird: elsewhere: Gambit (https://gambitscheme.org, gsi and gsc on PATH) and a C compiler named gcc" >&2
	exit 1
}

command -v apt-get >/dev/null 2>&1 || refuse "there is no apt-get here to install it"
[ "$(id -u)" = 0 ] || refuse "installing it needs root"
echo "jird: installing$missing$wanted" >&2
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
apt-get update -qq || refuse "apt-get failed, see above"
# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing || refuse "apt-get failed, see above"
missing=
# shellcheck disable=SC2086
[ -z "$wanted" ] || install $wanted || refuse "apt-get failed, see above"

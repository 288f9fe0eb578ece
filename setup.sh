#!/bin/sh
# Installs what jird needs and this machine lacks: Gambit and a C compiler; for
# `./setup.sh bench` Erlang, beside which restarts are measured; and for `./setup.sh test`
# Chromium, in which pages are looked at, a NATS server of Debian's, the oldest that carries
# evaluations to other machines, and ip, which makes hosts of namespaces: without one of
# these the tests that want it skip, and say so.
set -eu
missing=
command -v gsi >/dev/null 2>&1 && command -v gsc >/dev/null 2>&1 || missing="$missing gambc"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ "${1:-}" != bench ] || command -v erlc >/dev/null 2>&1 || missing="$missing erlang-base"
wanted=
if [ "${1:-}" = test ]; then
	command -v chromium >/dev/null 2>&1 || wanted="$wanted chromium"
	command -v nats-server >/dev/null 2>&1 || wanted="$wanted nats-server"
	command -v ip >/dev/null 2>&1 || wanted="$wanted iproute2"
fi
[ -n "$missing$wanted" ] || exit 0

refuse() {
	[ -n "$missing" ] || { echo "jird: not there:$wanted: $1; the tests that want it will be skipped" >&2; exit 0; }
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

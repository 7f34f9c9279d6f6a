#!/bin/bash
# Puts promtool into the folder $1, out of Debian's package of Prometheus and without installing that. Where apt cannot fetch
# it, says so and leaves it: the tests that need it say so too.
set -uo pipefail
folder=$1
if found=$(command -v promtool); then
    ln -sf "$found" "$folder/promtool"
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fetch() { apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb unpacked; }
# A machine that is new has no list of packages yet.
if (cd "$scratch" && { fetch || { apt-get update -qq && fetch; }; }) >"$scratch/log" 2>&1; then
    install -m 0755 "$scratch/unpacked/usr/bin/promtool" "$folder/promtool"
else
    echo "no promtool: the rules of the alerts are parsed, but not run ($(tail -n 1 "$scratch/log"))"
fi

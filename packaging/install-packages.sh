#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are missing. No service that one of them
# brings is started: a registry or a web server is wanted here for its program alone.
set -euo pipefail

missing=()
for package in "$@"; do
    dpkg --status "$package" 2>/dev/null | grep -q '^Status: .* installed$' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# Asked by every maintainer script before it starts a service: 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"

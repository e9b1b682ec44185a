#!/bin/bash
# install.sh PACKAGE PROGRAM: install a .deb or .rpm on this clean machine with what it depends on, run the program, remove it.
set -euo pipefail

as_root() { if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo --non-interactive "$@"; fi }

package=$1 program=$2
! command -v "$program" || { echo "$program is here before it is installed: this machine is not clean" >&2; exit 1; }

case $package in
    *.deb)
        as_root apt-get --quiet --yes --no-install-recommends install "./$package" </dev/null
        "$program"
        as_root apt-get --quiet --yes remove "$(dpkg-deb --field "$package" Package)" </dev/null
        ;;
    *.rpm)
        # Where rpm is only a guest (Debian), its database knows nothing of what is installed.
        if rpm --query rpm >/dev/null; then
            as_root dnf --assumeyes install "./$package"
        else
            as_root rpm --install --nodeps "$package"
        fi
        "$program"
        as_root rpm --erase "$(rpm --query --package --queryformat '%{NAME}' "$package")"
        ;;
    *)
        echo "$package is neither a .deb nor a .rpm" >&2
        exit 64
        ;;
esac
hash -r    # bash remembers where programs were
! command -v "$program" || { echo "$program is still here after its package was removed" >&2; exit 1; }

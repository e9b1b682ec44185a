#!/bin/bash
# tarball.sh DIRECTORY: out/NAME-VERSION.tar.gz of a source tree, the same bytes each time.
set -euo pipefail

read -r name version < <(sed -nE 's/^project\(([^ ]+) VERSION ([^ )]+).*/\1 \2/p' "$1/CMakeLists.txt")
rm -rf out
mkdir out
tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --directory "$1" --transform "s,^\.,$name-$version," . |
    gzip --no-name >"out/$name-$version.tar.gz"
ls -l out

#!/bin/bash
# deb.sh TARBALL: the .deb of a source tarball that has debian/ in it, into out/.
set -euo pipefail

rm -rf out tree
mkdir out tree
tar --extract --file "$1" --directory tree --strip-components 1
version=$(cd tree && dpkg-parsechangelog --show-field Version)
cp "$1" "$(cd tree && dpkg-parsechangelog --show-field Source)_${version%-*}.orig.tar.gz"
(cd tree && dpkg-buildpackage --build=binary --unsigned-changes "--jobs=$(nproc)")
mv ./*.deb out/
ls -l out

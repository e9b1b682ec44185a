#!/bin/bash
# rpm.sh TARBALL: the .rpm of a source tarball that has a .spec in it, into out/.
set -euo pipefail

# Where rpm is only a guest (Debian), its database knows nothing of what is installed.
rpm --query rpm >/dev/null || nodeps=--nodeps
rm -rf out rpmbuild
mkdir out
rpmbuild -tb ${nodeps:-} --define "_topdir $PWD/rpmbuild" "$1"
mv rpmbuild/RPMS/*/*.rpm out/
ls -l out

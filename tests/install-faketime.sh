#!/bin/sh
# libfaketime, for the fault suite's clock. As root it installs what is missing; else it says so.
set -eu
for file in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1; do
  [ -e "$file" ] && exit 0
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests of a clock that steps back need libfaketime; without it they skip." >&2
  exit 0
fi
echo "Installing libfaketime (a few seconds, once) …"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=300 update &&
  apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y libfaketime >/dev/null ||
  echo "libfaketime could not be installed; the tests of a clock that steps back skip." >&2

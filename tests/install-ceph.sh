#!/bin/sh
# Debian's object gateway, for the S3 lane. As root it installs what is missing; else it says what to do.
set -eu
command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The S3 lane needs radosgw, ceph-mon, ceph-osd and ceph-common, or WORKBENCH_TEST_S3_URL." >&2
  exit 0
fi
echo "Installing an object gateway (about half a minute, once) …"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=300 update
apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y \
  radosgw ceph-mon ceph-osd ceph-common >/dev/null

#!/bin/sh
# Chromium, for the browser tests. As root it installs what is missing; else it says what to do.
set -eu
[ -n "${WORKBENCH_TEST_CHROMIUM:-}" ] && exit 0
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The browser tests need Chromium, or WORKBENCH_TEST_CHROMIUM; without it they skip." >&2
  exit 0
fi
echo "Installing Chromium (about half a minute, once) …"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=300 update &&
  apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y \
    chromium fonts-dejavu-core >/dev/null ||
  echo "Chromium could not be installed; the browser tests skip." >&2

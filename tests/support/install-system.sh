#!/bin/sh
# Install Debian or Ubuntu packages by name; say what to do where that is not possible.
set -e
if ! command -v apt-get >/dev/null; then
  echo "Please install: $*   (there is no apt here to do it with)" >&2
  exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "Please install as root: apt-get install $*" >&2; exit 1; }
  sudo="sudo"
fi
echo "Installing $* with apt …"
$sudo apt-get update -qq
for package in "$@"; do
  # Ubuntu calls them chromium-browser and chromium-chromedriver.
  case "$package" in
    chromium) alternative=chromium-browser ;;
    chromium-driver) alternative=chromium-chromedriver ;;
    *) alternative="$package" ;;
  esac
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$alternative" >/dev/null
done

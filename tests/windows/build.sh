#!/bin/sh
# build.sh FOLDER: Microsoft's Python for Windows with this tree and its Windows wheels, run through Wine.
#
# The nearest thing to a Windows machine that a Linux one has: Microsoft's C library, Windows' file locks, code pages,
# error numbers and signals. Python and C library come from Maven, the wheels as pip would take them on Windows.
# Afterwards FOLDER/winpython is that Python, and FOLDER/src a copy of this tree. Exit code 77: it cannot be built here.
set -eu
here=$(dirname "$(readlink -f "$0")"); tree=$(readlink -f "$here/../..")
mkdir -p "$1"; cd "$1"; folder=$PWD

find_wine() { command -v wine64 || { [ -x /usr/lib/wine/wine64 ] && echo /usr/lib/wine/wine64; } || command -v wine || true; }
missing=""
[ -n "$(find_wine)" ] || missing="$missing wine64"
command -v mvn >/dev/null || missing="$missing maven"
if [ -n "$missing" ] && ! "$tree/tests/support/install-system.sh" $missing; then
  echo "Windows' Python cannot be run here: without$missing there is no Wine, or no way to fetch it."
  exit 77
fi
wine=$(find_wine)

if [ ! -d python ]; then
  jar() { # GROUP NAME VERSION CLASSIFIER: its path, fetched by Maven
    path="$HOME/.m2/repository/$(echo "$1" | tr . /)/$2/$3/$2-$3-$4.jar"
    [ -f "$path" ] || mvn -q dependency:get -Dartifact="$1:$2:$3:jar:$4" -Dtransitive=false >/dev/null
    echo "$path"
  }
  echo "Fetching Python for Windows …"
  rm -rf unpacked
  if ! { cpython=$(jar org.bytedeco cpython 3.11.3-1.5.9 windows-x86_64) && library=$(jar org.openjfx javafx-graphics 17.0.2 win) &&
    python3 -m zipfile -e "$cpython" unpacked; }; then
    echo "Windows' Python cannot be run here: Maven did not fetch it."
    exit 77
  fi
  mv unpacked/org/bytedeco/cpython/windows-x86_64 unpacked/python
  # Wine's own C library lacks functions that numpy needs.
  python3 -c 'import sys, zipfile; open(sys.argv[2], "wb").write(zipfile.ZipFile(sys.argv[1]).read("ucrtbase.dll"))' \
    "$library" unpacked/python/ucrtbase.dll
  # The artefact has no python3.dll, and Wine 8 no bcryptprimitives.dll.
  python3 "$here/forwarder_dll.py" unpacked/python/python3.dll python311 @unpacked/python/python311.dll
  python3 "$here/forwarder_dll.py" unpacked/python/bcryptprimitives.dll advapi32 ProcessPrng=SystemFunction036
  mv unpacked/python python && rm -r unpacked
fi

echo "Installing fluxcap and its wheels for Windows …"
[ -x uv/bin/uv ] || { python3 -m venv uv && uv/bin/pip install -q --disable-pip-version-check uv; }
rm -rf src dist && mkdir src
git -C "$tree" ls-files -z --cached --others --exclude-standard |
  python3 -c 'import os, sys; sys.stdout.write("\0".join(f for f in sys.stdin.read().split("\0") if f and os.path.exists(os.path.join(sys.argv[1], f))))' "$tree" |
  (cd "$tree" && xargs -0 cp --parents -t "$folder/src")
uv/bin/uv build -q --wheel -o dist src
uv/bin/uv pip install -q --cache-dir cache --python-platform x86_64-pc-windows-msvc --python-version 3.11 \
  --only-binary :all: --no-binary nkeys --reinstall-package fluxcap --target python/lib/site-packages \
  -c src/constraints.txt "$(ls dist/*.whl)[nats,alerts]" pytest pytest-timeout pytest-xdist hypothesis pyarrow polars aiohttp packaging pyyaml

cat >wine-env.sh <<EOF
export WINEPREFIX='$folder/prefix' WINEDEBUG=-all WINEDLLOVERRIDES='ucrtbase=n,b;winemenubuilder.exe=d;mscoree=d;mshtml=d'
EOF
printf '#!/bin/sh\n. "%s/wine-env.sh"\nexec "%s" "%s/python/python.exe" "$@"\n' "$folder" "$wine" "$folder" >winpython
chmod +x winpython
. ./wine-env.sh
[ -d prefix ] || "$wine" wineboot -i </dev/null 2>&1 | cat >/dev/null
mkdir -p drive && ln -sfn "$folder/drive" prefix/dosdevices/d:    # a drive of its own for data
./winpython --version </dev/null 2>&1 | cat

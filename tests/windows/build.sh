#!/bin/sh
# build.sh FOLDER: Microsoft's Python for Windows with this tree and its Windows wheels, run through Wine.
#
# The nearest thing to a Windows machine that a Linux one has: Microsoft's C library, Windows' file locks, code pages,
# error numbers and signals. Python and C library come from Maven, the wheels as pip would take them on Windows.
# Afterwards FOLDER/winpython is that Python, and FOLDER/src a copy of this tree. Exit code 77: it cannot be had here.
set -eu
here=$(dirname "$(readlink -f "$0")"); tree=$(readlink -f "$here/../..")
mkdir -p "$1"; cd "$1"; folder=$PWD
python=$tree/.venv/bin/python; [ -x "$python" ] || python=python3

cannot() { echo "Windows' Python cannot be run here: $1."; exit 77; }

find_wine() { command -v wine64 || { [ -x /usr/lib/wine/wine64 ] && echo /usr/lib/wine/wine64; } || command -v wine || true; }
missing=""
[ -n "$(find_wine)" ] || missing="$missing wine64"
command -v mvn >/dev/null || missing="$missing maven"
if [ -n "$missing" ]; then
  "$tree/tests/support/install-system.sh" $missing || cannot "without$missing there is no Wine, or nothing to fetch it by"
fi
wine=$(find_wine)
[ -n "$wine" ] || cannot "there is no 64-bit Wine"

if [ ! -d python ]; then
  jar() { # GROUP NAME VERSION CLASSIFIER: its path, fetched by Maven
    path="$HOME/.m2/repository/$(echo "$1" | tr . /)/$2/$3/$2-$3-$4.jar"
    [ -f "$path" ] || mvn -q dependency:get -Dartifact="$1:$2:$3:jar:$4" -Dtransitive=false >/dev/null
    echo "$path"
  }
  echo "Fetching Python for Windows …"
  rm -rf unpacked
  cpython=$(jar org.bytedeco cpython 3.11.3-1.5.9 windows-x86_64) && library=$(jar org.openjfx javafx-graphics 17.0.2 win) &&
    "$python" -m zipfile -e "$cpython" unpacked || cannot "Maven did not fetch it"
  mv unpacked/org/bytedeco/cpython/windows-x86_64 unpacked/python
  # Wine's own C library lacks functions that numpy needs.
  "$python" -c 'import sys, zipfile; open(sys.argv[2], "wb").write(zipfile.ZipFile(sys.argv[1]).read("ucrtbase.dll"))' \
    "$library" unpacked/python/ucrtbase.dll
  # The artefact has no python3.dll, and Wine 8 no bcryptprimitives.dll.
  "$python" "$here/forwarder_dll.py" unpacked/python/python3.dll python311 @unpacked/python/python311.dll
  "$python" "$here/forwarder_dll.py" unpacked/python/bcryptprimitives.dll advapi32 ProcessPrng=SystemFunction036
  mv unpacked/python python && rm -r unpacked
fi

echo "Installing fluxcap and its wheels for Windows …"
[ -x uv/bin/uv ] || { "$python" -m venv uv && uv/bin/pip install -q --disable-pip-version-check uv; } || cannot "uv was not to be had"
rm -rf src dist && mkdir src
git -C "$tree" ls-files -z --cached --others --exclude-standard |
  "$python" -c 'import os, sys; sys.stdout.write("\0".join(f for f in sys.stdin.read().split("\0") if f and os.path.exists(os.path.join(sys.argv[1], f))))' "$tree" |
  (cd "$tree" && xargs -0 cp --parents -t "$folder/src")
git -C "$tree" describe --always --dirty --abbrev=10 --exclude '*' >commit 2>/dev/null || echo "no commit" >commit
uv/bin/uv build -q --wheel -o dist src
uv/bin/uv pip install -q --cache-dir cache --python-platform x86_64-pc-windows-msvc --python-version 3.11 \
  --only-binary :all: --no-binary nkeys --reinstall-package fluxcap --target python/lib/site-packages \
  -c src/constraints.txt "$(ls dist/*.whl)[nats,alerts]" pytest pytest-timeout pytest-xdist hypothesis pandas pyarrow polars aiohttp packaging pyyaml 2>wheels.log || {
  cat wheels.log
  # What could not be fetched is no fault of ours; a package without a wheel for Windows is.
  grep -qiE "failed to (fetch|download)|error sending request|timed out" wheels.log && cannot "the wheels could not be fetched"
  exit 1
}

# Compiled here, where it is quicker, and not by each process anew; another version's byte code does no harm.
"$python" -m compileall -q -j 0 src/bridge src/capture src/schemas src/tests python/lib >compile.log 2>&1 || true
# TMPDIR is where processes of Wine find each other: the same for all.
cat >wine-env.sh <<EOF
unset TMPDIR
export WINEPREFIX='$folder/prefix' WINEDEBUG=-all WINEDLLOVERRIDES='ucrtbase=n,b;winemenubuilder.exe=d;mscoree=d;mshtml=d'
EOF
printf '#!/bin/sh\n. "%s/wine-env.sh"\nexec "%s" "%s/python/python.exe" "$@"\n' "$folder" "$wine" "$folder" >winpython
chmod +x winpython
. ./wine-env.sh
if [ ! -e prefix/system.reg ]; then
  timeout 180 "$wine" wineboot -i </dev/null >/dev/null 2>&1 || cannot "Wine does not start"
fi
mkdir -p drive && ln -sfn "$folder/drive" prefix/dosdevices/d:    # a drive of its own for data
timeout 180 sh -c './winpython --version </dev/null 2>&1 | cat' | grep Python || cannot "Wine does not run it"

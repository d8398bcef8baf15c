"""The files of the page: ours, and the chart library, which the package litecharts brings.

Nothing of lightweight-charts is copied into this project: the file is read where pip put it, and served only if it is
the one that its makers published (by its digest).
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from fluxcap.schemas.errors import ConfigError

FOLDER = Path(__file__).with_name("static")
_LIBRARY = "lightweight-charts"
LIBRARY = f"{_LIBRARY}.js"
LIBRARY_SHA256 = "756b0ba9f58930226d6b8b9d47ad310448ab85d799ea1f7c2c02304777c10b52"
"""Of release 5.1.0, the standalone build for production, as published on npm."""
_IMPORTED = re.compile(rb'from "\./([^"]+)"')
_IMPORT = re.compile(rb'^import \{([^}]*)\} from "\./([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(rb"^export (?:async )?(?:function|class|const) ([\w$]+)", re.MULTILINE)
_EXPORT_WORD = re.compile(rb"^export ", re.MULTILINE)
_MODULE = re.compile(rb'<script type="module" src="page/VERSION/([^"]+)"')
_EARLY = re.compile(rb'<script src="page/VERSION/(early\.js)"([^>]*)></script>')
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class PageFile:
    """One file as it is sent."""

    def __init__(self, name: str, content: bytes) -> None:
        self.kind = _KINDS[Path(name).suffix]
        self.content = content
        self.gzipped = gzip.compress(content, 9, mtime=0)


class PageFiles:
    """All files of the page, read once. ``version`` changes with any of them, so that browsers may keep them.

    Raises ConfigError where the chart library is missing, or another one.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _KINDS}
        found[LIBRARY] = chart_library()
        digest = hashlib.sha256()
        for name, content in found.items():
            digest.update(name.encode() + b"\0" + content)
        self.version = digest.hexdigest()[:12]
        pages = [name for name in found if name.endswith(".html")]
        self._pages = {name: _as_sent(found[name], found).replace(b"VERSION", self.version.encode()) for name in pages}
        mains = [name.decode() for page in pages for name in _MODULE.findall(found.pop(page))]
        found |= {name: bundle(name, found) for name in mains}
        self._files = {name: PageFile(name, content) for name, content in found.items()}

    def get(self, name: str) -> PageFile | None:
        return self._files.get(name)

    def page(self, name: str, *, has_daemon: bool) -> bytes:
        """A page itself. has_daemon: whether there is one to be asked for status, focus and files."""
        return self._pages[name].replace(b'<html lang="en"', b'<html lang="en" data-daemon="%b"' % _word(has_daemon), 1)


def bundle(name: str, files: Mapping[str, bytes]) -> bytes:
    """A module and all that it imports as one, each in a scope of its own: a page of many files opens slowly.

    It knows what our modules use: imports of names from a file beside it, and ``export`` of a function, class or const.
    """
    parts = [b"const MODULES = {};\n"]
    done: set[str] = set()

    def add(one: str) -> None:
        done.add(one)
        for other in map(bytes.decode, _IMPORTED.findall(files[one])):
            if other not in done:
                add(other)
        code = _IMPORT.sub(rb'const {\1} = MODULES["\2"];', files[one])
        names = b", ".join(_EXPORT.findall(code))
        code = _EXPORT_WORD.sub(b"", code)
        parts.append(b'MODULES["%b"] = (() => {\n%b\nreturn { %b };\n})();\n' % (one.encode(), code, names))

    add(name)
    return b"".join(parts)


def _as_sent(page: bytes, files: Mapping[str, bytes]) -> bytes:
    """A page with what is needed first within it: the browser need not ask for it before it asks for the rest."""

    def inline(match: re.Match[bytes]) -> bytes:
        return b"<script%b>\n%b</script>" % (match[2], files[match[1].decode()])

    return _EARLY.sub(inline, page)


def chart_library() -> bytes:
    """Return lightweight-charts. Raises ConfigError."""
    package = importlib.util.find_spec("litecharts")
    places = package.submodule_search_locations if package is not None else None
    try:
        content = (Path(next(iter(places or ()))) / "js" / LIBRARY).read_bytes()
    except (StopIteration, OSError):
        raise ConfigError(
            "The package litecharts, which brings the charts, is missing; install fluxcap again."
        ) from None
    if hashlib.sha256(content).hexdigest() != LIBRARY_SHA256:
        raise ConfigError("The package litecharts has another chart library than this fluxcap; install fluxcap again.")
    return content


def _word(value: bool) -> bytes:
    return b"yes" if value else b"no"

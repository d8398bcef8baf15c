"""The whole examination, in the order in which things are needed. Takes about a second, whatever is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fluxcap.bridge.http.run_file import RunFile
from fluxcap.bridge.system.ports import process_on_port
from fluxcap.bridge.transport.addresses import in_address, require_bindable
from fluxcap.capture.chrome.endpoint import ConsentBrowser, parse_endpoint
from fluxcap.capture.chrome.launch import default_profile
from fluxcap.capture.pipeline.consent import ConsentFile
from fluxcap.capture.pipeline.reconnect import browser_locator
from fluxcap.capture.platforms.base import Platform
from fluxcap.capture.platforms.registry import platform_named
from fluxcap.capture.runtime.settings import Settings
from fluxcap.capture.tools.doctor import browser, data, machine
from fluxcap.capture.tools.doctor.browser import running_chromes
from fluxcap.capture.tools.doctor.finding import Finding, from_error
from fluxcap.capture.tools.service.systems import manager_of
from fluxcap.schemas.errors import ChromeUnavailable, ConfigError, ConsentRequired


def run_checks(config: Path | None = None, **options: Any) -> list[Finding]:
    """Look at everything. ``options``: settings given on the command line. Raises nothing."""
    wall_ns, mono_ns = time.time_ns(), time.monotonic_ns()
    checked, settings = data.check_settings(config, **options)
    findings = [machine.check_python(), machine.check_packages(), checked]
    run, status = data.running_daemon(settings.data_dir)
    findings += data.check_daemon(settings.data_dir, run, status)
    findings += browser.check_installed(settings.browser)
    findings += _browser(settings, seen_by_daemon=status is not None)
    findings += _ports(settings, run)
    findings += [machine.check_disk(settings.data_dir), data.check_store(settings.data_dir, status)]
    findings.append(data.check_service(manager_of()))
    wall_ms, mono_ms = (time.time_ns() - wall_ns) / 1e6, (time.monotonic_ns() - mono_ns) / 1e6
    return [*findings, machine.check_clocks(wall_ms, mono_ms)]


def _browser(settings: Settings, *, seen_by_daemon: bool) -> Iterator[Finding]:
    """Check the browser, except what a running daemon has checked."""
    chromes = running_chromes()
    platform: Platform | None = None
    try:
        platform = platform_named(settings.platform, settings.platform_url, settings.platforms)
        find = browser_locator(settings)
    except ConfigError as error:
        yield from_error("settings", error)
        return
    try:
        info = find()
    except ChromeUnavailable as error:
        if not seen_by_daemon and (settings.consent or isinstance(error, ConsentRequired)):
            yield from_error("devtools port", error, is_problem=False)
        elif not seen_by_daemon:
            yield browser.check_port(settings.chrome, error, chromes)
        return
    if isinstance(info, ConsentBrowser):
        if not seen_by_daemon:
            yield browser.check_consent(info, ConsentFile(settings.data_dir).read())
        return
    where = info.websocket_url.removeprefix("ws://").partition("/")[0]
    if not seen_by_daemon:
        yield browser.check_answer(info, settings.chrome)
    yield browser.check_flags(chromes, process_on_port(parse_endpoint(where)[1]), default_profile())
    if not seen_by_daemon:
        yield from browser.check_page(info, platform, data.kept_offset(settings))


def _ports(settings: Settings, run: RunFile | None) -> Iterator[Finding]:
    held = {port for port in (_port(run.pub), _port(run.rep), _port(run.control)) if port} if run else set()
    web_option = "--web-port" if settings.web else "--control-port"
    addresses = {
        "PUB port": (settings.pub, "--pub"),
        "request port": (settings.rep, "--rep"),
        "web port": (f"tcp://{in_address(settings.web_host)}:{settings.listen_port}", web_option),
    }
    for subject, (address, option) in addresses.items():
        try:
            require_bindable(address)
        except ConfigError as error:
            yield from_error(subject, error)
            continue
        host, port = urlsplit(address).hostname, _port(address)
        if host is not None and host != "*" and port is not None:
            yield machine.check_own_port(subject, host, port, option, port in held)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return None

"""The platform's addresses and events, in the shapes recorded."""

from __future__ import annotations

import json

import pytest

from fluxcap.capture.platforms.base import (
    ActiveAsset,
    Asset,
    Assets,
    Favourites,
    Greeting,
    History,
    LoggedOut,
    MarketEvent,
    RawTick,
)
from fluxcap.capture.platforms.pocketoption import PocketOption, PocketOptionDecoder
from fluxcap.schemas.types import Candle
from tests.support.market.simulated_market import announcement, attachment


@pytest.fixture
def decoder() -> PocketOptionDecoder:
    return PocketOption().decoder()


def told(decoder: PocketOptionDecoder, event: str, payload: object) -> list[MarketEvent]:
    decoder.received(1, announcement(event))
    return list(decoder.received(2, attachment(payload)))


# --- addresses ---


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://pocketoption.com/en/cabinet/demo-quick-high-low/", True),
        ("https://m.pocketoption.com/", True),
        ("https://po.trade/", True),
        ("https://pocketoption.com.evil.example/", False),
        ("https://notpocketoption.com/", False),
        ("https://example.com/?pocketoption.com", False),
        ("chrome-extension://pocketoption.com/", False),
        ("about:blank", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_the_platforms_own_pages_are_attached(url: str, ours: bool) -> None:
    assert PocketOption().is_page(url) is ours


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("wss://api-eu.po.market/socket.io/?EIO=4", True),
        ("wss://demo-api-eu.po.market/", True),
        ("wss://chat-po.site/socket.io/", False),
        ("https://api-eu.po.market/", False),
        ("wss://po.market.example/", False),
        ("ws://[::1", False),
    ],
)
def test_only_the_platforms_market_sockets_are_read(url: str, ours: bool) -> None:
    assert PocketOption().is_socket(url) is ours


def test_mirrors_are_a_setting() -> None:
    platform = PocketOption(["*.mirror.example", "127.0.0.1:8080"])

    assert platform.is_page("https://www.Mirror.example/")
    assert platform.is_socket("ws://127.0.0.1:8080/socket.io/")
    assert not platform.is_page("http://127.0.0.1:8081/")


@pytest.mark.parametrize(
    "url",
    [
        "https://po.cash/en/cabinet/",
        "https://po2.cash/",
        "https://p.finance/",
        "https://pocket-option.com/",
        "https://www.pocketoption.net/",
        "https://pocketoption.co/",
        "https://po.site/",
        "https://po.zone/",
        "https://po-ru.co/",
    ],
)
def test_known_mirrors_are_pages_and_no_hosts_of_sockets(url: str) -> None:
    platform = PocketOption()

    assert platform.is_page(url)
    assert platform.is_mirror(url)
    assert not platform.is_socket(url.replace("https://", "wss://"))
    assert not platform.resembles_page(url)


def test_a_mirror_that_the_user_names_is_trusted_as_a_whole() -> None:
    platform = PocketOption(["po.cash"])

    assert platform.is_page("https://po.cash/")
    assert not platform.is_mirror("https://po.cash/")
    assert platform.is_socket("wss://po.cash/")


@pytest.mark.parametrize("url", ["https://pocketoption.com/", "https://po.trade/x"])
def test_the_platforms_own_pages_are_no_mirrors(url: str) -> None:
    assert not PocketOption().is_mirror(url)


@pytest.mark.parametrize(
    ("url", "alike"),
    [
        ("https://pocketoption.example/en/cabinet/", True),
        ("https://pocket-option.trade-now.example/", True),
        ("https://po9.cash/en/cabinet/demo-quick-high-low/", True),
        ("https://po9.cash/en/cabinet/quick-high-low", True),
        ("https://po9.cash/", False),
        ("https://search.example/?q=pocketoption", False),
        ("https://bank.example/cabinet/", False),
        ("chrome-extension://pocketoption/", False),
        ("https://pocketoption.com/", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_a_page_that_looks_like_the_platforms_is_known_by_its_host_or_its_path(url: str, alike: bool) -> None:
    assert PocketOption().resembles_page(url) is alike


@pytest.mark.parametrize(
    ("socket", "page", "kind"),
    [
        ("wss://api-eu.po.market/socket.io/", "", "real"),
        ("wss://demo-api-eu.po.market/socket.io/", "https://pocketoption.com/en/cabinet/quick-high-low/", "demo"),
        ("wss://try-demo-eu.po.market/", "", "demo"),
        ("", "https://pocketoption.com/en/cabinet/demo-quick-high-low/", "demo"),
        ("", "https://pocketoption.com/en/cabinet/quick-high-low/", "real"),
        ("", "https://pocketoption.com/en/", ""),
        ("wss://chat.example/", "", ""),
        ("ws://[", "http://[", ""),
        ("", "", ""),
    ],
)
def test_the_kind_of_account_is_told_by_the_sockets_host_else_by_the_pages_path(
    socket: str, page: str, kind: str
) -> None:
    assert PocketOption().account(socket, page) == kind


@pytest.mark.parametrize("name", ["NotAuthorized", "notAuthorized", "auth_error"])
def test_a_refused_session_is_known_by_the_events_name(decoder: PocketOptionDecoder, name: str) -> None:
    assert decoder.received(1, f'42["{name}"]') == (LoggedOut(),)
    assert decoder.received(1, f'42["{name}",{{"session":"SECRET"}}]') == (LoggedOut(),)
    assert decoder.received(1, "41") == (LoggedOut(),)


# --- ticks ---


def test_a_tick_is_symbol_time_in_milliseconds_and_price(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "updateStream", [["EURGBP_otc", 1756866774.962, 0.87951]]) == [
        RawTick("EURGBP_otc", 1_756_866_774_962, 0.87951)
    ]


def test_a_frame_may_hold_any_number_of_ticks(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "updateStream", []) == []
    assert len(told(decoder, "updateStream", [["A", 1756866774.1, 1.0], ["B", 1756866774.2, 2.0]])) == 2


def test_whole_seconds_and_exponents_are_numbers_too(decoder: PocketOptionDecoder) -> None:
    decoder.received(1, announcement("updateStream"))
    ticks = decoder.received(2, "W1siTEJQVVNEX290YyIsMTc1Njg2NjgwOCw5ZS0wNl1d")  # [["LBPUSD_otc",1756866808,9e-06]]

    assert list(ticks) == [RawTick("LBPUSD_otc", 1_756_866_808_000, 9e-06)]


def test_sub_second_ticks_are_all_kept(decoder: PocketOptionDecoder) -> None:
    rows = [["A", 1756866774 + at / 1_000, 1.0] for at in range(0, 1_000, 50)]

    ticks = told(decoder, "updateStream", rows)

    assert [tick.raw_ts_ms for tick in ticks] == [1_756_866_774_000 + at for at in range(0, 1_000, 50)]


@pytest.mark.parametrize(
    "row",
    [
        ["A", 1756866774.1, -1.0],
        ["A", 1756866774.1, 0],
        ["A", 1756866774.1, 1e300],
        ["A", 1756866774.1, "1.0"],
        ["A", 1756866774.1, None],
        ["A", 1756866774.1, True],
        ["A", -5, 1.0],
        ["A", 1e15, 1.0],
        ["A", "now", 1.0],
        ["", 1756866774.1, 1.0],
        ["../../etc/passwd", 1756866774.1, 1.0],
        ["A.B", 1756866774.1, 1.0],
        ["A\nB", 1756866774.1, 1.0],
        ["A" * 60, 1756866774.1, 1.0],
        [7, 1756866774.1, 1.0],
        ["A", 1756866774.1],
        [],
        "A",
        None,
        {"symbol": "A"},
    ],
)
def test_a_bad_row_is_counted_and_costs_no_other(decoder: PocketOptionDecoder, row: object) -> None:
    ticks = told(decoder, "updateStream", [["GOOD", 1756866774.1, 1.0], row, ["BEST", 1756866774.2, 1.0]])

    assert [tick.symbol for tick in ticks] == ["GOOD", "BEST"]
    assert decoder.malformed["tick"] == 1


@pytest.mark.parametrize("digits", ["9" * 25, "-" + "9" * 400, "9" * 5_000])
@pytest.mark.parametrize("columns", ['"A",{},1.5', '"A",1756866774.1,{}'])
def test_integers_that_no_double_holds_are_no_ticks(decoder: PocketOptionDecoder, columns: str, digits: str) -> None:
    assert list(decoder.received(1, f'42["updateStream",[[{columns.format(digits)}]]]')) == []
    assert sum(decoder.malformed.values()) == 1


def test_nan_and_infinity_are_no_ticks(decoder: PocketOptionDecoder) -> None:
    for text in ('42["updateStream",[["A",1756866774.1,NaN]]]', '42["updateStream",[["A",1756866774.1,1e999]]]'):
        assert list(decoder.received(1, text)) == []
    assert sum(decoder.malformed.values()) == 2


def test_columns_added_by_the_platform_do_no_harm(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "updateStream", [["A", 1756866774.1, 1.0, "new", 7]]) == [RawTick("A", 1756866774100, 1.0)]


def test_update_assets_is_never_parsed_as_a_tick(decoder: PocketOptionDecoder) -> None:
    row = [5, "#AAPL", "Apple", "stock", 2, 50, 60, 30, 3, 0, 170, 0, [], 1756917300, False, [{"time": 60}], -1, 60, 1]

    assert told(decoder, "updateAssets", [row]) == [Assets((Asset("#AAPL", "Apple", "stock", 50, False, False),))]


def test_signal_statistics_that_look_like_ticks_are_none(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "successsignals/stats", [["EURUSD_otc", 1756866774.1, 1.0]]) == []
    assert decoder.dropped["successsignals/stats"] == 1


# --- history ---


def test_history_candles_are_open_close_high_low_and_come_out_ascending(decoder: PocketOptionDecoder) -> None:
    payload = {
        "asset": "EURUSD_otc",
        "period": 60,
        "history": [[1756866001.217, 1.5], [1756866001.701, 1.6]],
        "candles": [[1756865940, 1.0, 1.1, 1.3, 0.9], [1756865880, 2.0, 2.1, 2.3, 1.9]],
    }

    assert told(decoder, "updateHistoryNewFast", payload) == [
        ActiveAsset("EURUSD_otc", 60_000),
        History(
            "EURUSD_otc",
            60_000,
            ((1_756_866_001_217, 1.5), (1_756_866_001_701, 1.6)),
            (
                Candle(1_756_865_880_000, 2.0, 2.3, 1.9, 2.1),
                Candle(1_756_865_940_000, 1.0, 1.3, 0.9, 1.1),
            ),
        ),
    ]


def test_the_older_event_name_is_understood_too(decoder: PocketOptionDecoder) -> None:
    assert len(told(decoder, "updateHistoryNew", {"asset": "A", "period": 60})) == 2


def test_older_history_comes_as_objects(decoder: PocketOptionDecoder) -> None:
    row = {"symbol_id": 78, "time": 1756851840, "open": 1.0, "close": 1.1, "high": 1.3, "low": 0.9}
    payload = {"asset": "EURGBP_otc", "index": 175686678578, "data": [row], "period": 60}

    assert told(decoder, "loadHistoryPeriodFast", payload) == [
        History("EURGBP_otc", 60_000, (), (Candle(1_756_851_840_000, 1.0, 1.3, 0.9, 1.1),))
    ]


def test_a_bad_history_row_costs_no_other(decoder: PocketOptionDecoder) -> None:
    payload = {
        "asset": "A",
        "period": 60,
        "history": [[1756866001, 1.5], None, [1756866002], ["x", "y"], [1756866003, -1], [1756866004, 1.6, "new"]],
        "candles": [[1756865940, 1.0, 1.1, 1.3, 0.9, 7], [1756865880, 1.0, 1.1, 0.5, 0.9], "x"],
    }

    history = told(decoder, "updateHistoryNewFast", payload)[1]

    assert isinstance(history, History)
    assert history.ticks == ((1_756_866_001_000, 1.5), (1_756_866_004_000, 1.6))
    assert history.candles == (Candle(1_756_865_940_000, 1.0, 1.3, 0.9, 1.1),)
    assert decoder.malformed["history row"] == 6


def test_columns_of_history_never_move_up_into_the_place_of_one_that_is_no_number(decoder: PocketOptionDecoder) -> None:
    payload = {
        "asset": "A",
        "period": 60,
        "history": [[1756866001, None, 1.5], ["x", 1756866001, 1.5], [10**400, 1.5]],
        "candles": [[1756865940, 1.0, None, 1.1, 1.3, 0.9], [1756865940, 1.0, 1.1, 1.3, 10**400]],
    }

    history = told(decoder, "updateHistoryNewFast", payload)[1]

    assert isinstance(history, History)
    assert (history.ticks, history.candles) == ((), ())
    assert decoder.malformed["history row"] == 5


@pytest.mark.parametrize("payout", [-1, 1e300, 10**400, True, "92"])
def test_a_payout_that_cannot_be_is_none(decoder: PocketOptionDecoder, payout: object) -> None:
    row = [5, "A", "A", "stock", 2, payout, 60, 30, 3, 0, 170, 0, [], 1756917300, True]

    assert told(decoder, "updateAssets", [row]) == [Assets((Asset("A", "A", "stock", 0, False, True),))]


def test_ticks_of_one_millisecond_stay_in_their_order(decoder: PocketOptionDecoder) -> None:
    payload = {"asset": "A", "period": 60, "history": [[5, 2.0], [5, 1.0], [4, 3.0]]}

    history = told(decoder, "updateHistoryNewFast", payload)[1]

    assert isinstance(history, History)
    assert history.ticks == ((4_000, 3.0), (5_000, 2.0), (5_000, 1.0))


@pytest.mark.parametrize("asset", ["", "../x", "a b", "x" * 99])
def test_history_of_an_asset_that_cannot_be_is_dropped(decoder: PocketOptionDecoder, asset: str) -> None:
    assert told(decoder, "updateHistoryNewFast", {"asset": asset, "period": 60}) == []
    assert told(decoder, "loadHistoryPeriodFast", {"asset": asset, "period": 60}) == []


T0 = 1_756_851_840
"""A whole minute in platform seconds."""


def candle_row(n: int, **other: object) -> dict[str, object]:
    """A sound row of ``loadHistoryPeriodFast``, ``n`` minutes on."""
    return {"time": T0 + 60 * n, "open": 1.0, "close": 1.1, "high": 1.3, "low": 0.9} | other


def candle(n: int) -> Candle:
    return Candle((T0 + 60 * n) * 1_000, 1.0, 1.3, 0.9, 1.1)


@pytest.mark.parametrize("period", [None, "M1", 0, -60, 60.5, True, [60]])
def test_a_period_that_is_missing_or_odd_is_the_usual_step_of_the_rows(
    decoder: PocketOptionDecoder, period: object
) -> None:
    rows = [candle_row(n) for n in (0, 1, 2, 5)]
    expected = [History("A", 60_000, (), tuple(candle(n) for n in (0, 1, 2, 5)))]

    assert told(decoder, "loadHistoryPeriodFast", {"asset": "A", "period": period, "data": rows}) == expected
    assert told(decoder, "loadHistoryPeriod", {"asset": "A", "data": rows}) == expected


@pytest.mark.parametrize("minutes", [(), (0,), (0, 1), (0, 1, 3, 5, 7), (0, 3, 5, 8)])
def test_steps_that_tell_no_period_leave_it_unknown(decoder: PocketOptionDecoder, minutes: tuple[int, ...]) -> None:
    (history,) = told(decoder, "loadHistoryPeriodFast", {"asset": "A", "data": [candle_row(n) for n in minutes]})

    assert history == History("A", 0, (), tuple(candle(n) for n in minutes))


@pytest.mark.parametrize("index", [175686678578, 1756866785.5, "chart-1"])
def test_an_answer_that_names_neither_asset_nor_period_is_tied_to_its_request(
    decoder: PocketOptionDecoder, index: object
) -> None:
    request = {"asset": "EURGBP_otc", "period": 60, "time": T0, "index": index, "offset": 9000}
    decoder.sent(1, "42" + json.dumps(["loadHistoryPeriod", request]))
    answer = {"index": index, "data": [candle_row(0)]}

    assert told(decoder, "loadHistoryPeriodFast", {"index": 7, "data": [candle_row(0)]}) == []
    assert told(decoder, "loadHistoryPeriodFast", answer) == [History("EURGBP_otc", 60_000, (), (candle(0),))]
    assert told(decoder, "loadHistoryPeriodFast", answer) == []
    assert decoder.malformed["loadHistoryPeriodFast"] == 2


def test_the_request_for_another_asset_tells_no_period(decoder: PocketOptionDecoder) -> None:
    decoder.sent(1, '42["loadHistoryPeriod",{"asset":"A","period":60,"index":1}]')

    assert told(decoder, "loadHistoryPeriodFast", {"asset": "B", "index": 1, "data": [candle_row(0)]}) == [
        History("B", 0, (), (candle(0),))
    ]


def test_requests_without_an_answer_are_forgotten(decoder: PocketOptionDecoder) -> None:
    for index in range(100):
        decoder.sent(1, f'42["loadHistoryPeriod",{{"asset":"A","period":60,"index":{index}}}]')

    assert told(decoder, "loadHistoryPeriodFast", {"index": 0, "data": [candle_row(0)]}) == []
    assert len(told(decoder, "loadHistoryPeriodFast", {"index": 99, "data": [candle_row(0)]})) == 1


@pytest.mark.parametrize(
    "damage",
    [{"open": None}, {"high": "1.3"}, {"low": True}, {"close": 2.0}, {"low": 0}, {"time": None}, {"time": "x"}, None],
)
def test_a_damaged_row_of_earlier_candles_costs_no_other(decoder: PocketOptionDecoder, damage: dict | None) -> None:
    bad = "no row" if damage is None else candle_row(1, **damage)
    payload = {"asset": "A", "period": 60, "data": [candle_row(0), bad, candle_row(2, volume=17)]}

    assert told(decoder, "loadHistoryPeriodFast", payload) == [History("A", 60_000, (), (candle(0), candle(2)))]
    assert decoder.malformed["history row"] == 1


@pytest.mark.parametrize("period", [0, 60, None])
def test_rows_of_ticks_are_ticks_of_an_unknown_period(decoder: PocketOptionDecoder, period: object) -> None:
    rows = [{"time": T0 + 1.5, "price": 1.2}, {"time": T0 + 2, "price": None}, {"time": T0, "price": 1.1}]

    assert told(decoder, "loadHistoryPeriodFast", {"asset": "A", "period": period, "data": rows}) == [
        History("A", 0, ((T0 * 1_000, 1.1), (T0 * 1_000 + 1_500, 1.2)), (), (T0 * 1_000 + 1_500,))
    ]
    assert decoder.malformed["history row"] == 1


@pytest.mark.parametrize("period", [None, "M1", 0, 60.5, "absent"])
def test_a_recent_history_of_a_missing_or_odd_period_has_its_ticks_and_the_period_of_its_rows(
    decoder: PocketOptionDecoder, period: object
) -> None:
    rows = [[T0 - 60 * n, 1.0, 1.1, 1.3, 0.9] for n in range(3)]
    payload = {"asset": "A", "period": period, "history": [[T0 + 301.5, 1.2]], "candles": rows}
    if period == "absent":
        del payload["period"]

    assert told(decoder, "updateHistoryNewFast", payload) == [
        ActiveAsset("A", 60_000),
        History("A", 60_000, ((T0 * 1_000 + 301_500, 1.2),), (candle(-2), candle(-1), candle(0))),
    ]
    payload["candles"] = None
    assert told(decoder, "updateHistoryNewFast", payload)[1] == History("A", 0, ((T0 * 1_000 + 301_500, 1.2),))


@pytest.mark.parametrize(
    ("rows", "breaks_s"),
    [
        ([[1, 1.1], [2, 1.2]], ()),
        ([[1, 1.1], None, [2, None], [3, 1.2]], (3,)),
        ([[3, 1.1], None, [1, 1.2]], (3,)),
        ([[1, 1.1], [2]], (1.001,)),
        ([["x", 1.0], [2, 1.1], [1, 1.1]], (2.001,)),
        ([None, [1, 1.1], [2, 1.1]], (1,)),
        ([None, "x"], ()),
    ],
)
def test_ticks_that_cannot_be_read_leave_a_break_where_they_stood(
    decoder: PocketOptionDecoder, rows: list[object], breaks_s: tuple[float, ...]
) -> None:
    history = told(decoder, "updateHistoryNewFast", {"asset": "A", "period": 60, "history": rows})[1]

    assert isinstance(history, History)
    assert history.breaks_ms == tuple(round(at_s * 1_000) for at_s in breaks_s)


# --- the page ---


def test_the_timeframe_code_of_a_chart_is_not_taken_for_minutes(decoder: PocketOptionDecoder) -> None:
    settings = json.dumps({"chartId": "chart-1", "chartPeriod": 4, "symbol": "EURGBP_otc"})

    assert told(decoder, "updateCharts", [{"chart_id": "chart-1", "settings": settings}]) == [
        ActiveAsset("EURGBP_otc", 0)
    ]


def test_charts_without_a_symbol_say_nothing(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "updateCharts", []) == []
    assert told(decoder, "updateCharts", [{"settings": {"symbol": "A"}}]) == [ActiveAsset("A")]
    assert told(decoder, "updateCharts", [{"settings": {}}]) == []


def test_favourites_keep_their_order(decoder: PocketOptionDecoder) -> None:
    assert told(decoder, "successfavorite/change", ["B_otc", "A_otc"]) == [Favourites(("B_otc", "A_otc"))]


def test_the_asset_the_page_asks_for_is_read_from_its_own_request(decoder: PocketOptionDecoder) -> None:
    assert list(decoder.sent(1, '42["changeSymbol",{"asset":"AUDCAD_otc","period":60}]')) == [
        ActiveAsset("AUDCAD_otc", 60_000)
    ]


@pytest.mark.parametrize(
    "charts",
    [
        [{"chart_id": "chart-1", "settings": '{"symbol":"AUDCAD_otc","chartPeriod":4}'}],
        {"chart_id": "chart-1", "settings": '{"symbol":"AUDCAD_otc"}'},
        {"settings": [{"symbol": "AUDCAD_otc", "chartPeriod": 60}, {"symbol": "AUDCAD_otc", "chartPeriod": 300}]},
    ],
)
def test_the_charts_that_the_page_saves_tell_the_asset_it_shows(decoder: PocketOptionDecoder, charts: object) -> None:
    sent = decoder.sent(1, "42" + json.dumps(["saveCharts", charts]))

    assert list(sent) == [ActiveAsset("AUDCAD_otc", turned=False)]


def test_charts_of_several_assets_do_not_tell_which_one_is_looked_at(decoder: PocketOptionDecoder) -> None:
    charts = {"settings": [{"symbol": "AUDCAD_otc"}, {"symbol": "EURUSD_otc"}]}

    assert list(decoder.sent(1, "42" + json.dumps(["saveCharts", charts]))) == []


def test_the_request_for_earlier_candles_tells_the_asset_the_page_shows(decoder: PocketOptionDecoder) -> None:
    assert list(decoder.sent(1, '42["loadHistoryPeriod",{"asset":"AUDCAD_otc","period":300,"index":1}]')) == [
        ActiveAsset("AUDCAD_otc", 300_000, turned=False)
    ]
    assert list(decoder.sent(1, '42["loadHistoryPeriod",{"asset":"../x","period":300,"index":1}]')) == []


def test_secrets_that_go_out_are_never_looked_at(decoder: PocketOptionDecoder) -> None:
    for text in ('42["auth",{"session":"top-secret","uid":1}]', '42["openOrder",{"amount":1}]', "3"):
        assert list(decoder.sent(1, text)) == []
    assert "top-secret" not in repr(vars(decoder))


def test_a_greeting_tells_how_often_the_server_pings(decoder: PocketOptionDecoder) -> None:
    assert list(decoder.received(1, '0{"sid":"x","pingInterval":25000,"pingTimeout":20000}')) == [Greeting(25_000)]


@pytest.mark.parametrize("event", ["updateStream", "updateHistoryNewFast", "updateCharts", "updateAssets"])
@pytest.mark.parametrize("payload", ["", "{", "null", '"\ud800"', "[" * 100_000, "123", '{"asset":7}'])
def test_a_payload_of_another_kind_is_counted_and_dropped(
    decoder: PocketOptionDecoder, event: str, payload: str
) -> None:
    assert list(decoder.received(1, f'42["{event}",{payload}]')) == []
    assert sum(decoder.malformed.values()) >= 1


def test_bytes_that_are_not_utf8_are_counted_and_dropped(decoder: PocketOptionDecoder) -> None:
    decoder.received(1, announcement("updateStream"))

    assert list(decoder.received(2, "W1si//9bIiwxLDFdXQ==")) == []
    assert sum(decoder.malformed.values()) == 1

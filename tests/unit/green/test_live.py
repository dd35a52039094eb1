"""Live providers against a server of our own; none is called unless asked."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from picojoule.errors import UsageError
from picojoule.green import carbon, live


@pytest.fixture
def server(monkeypatch):
    """Answers what the test tells it to; remembers what it was asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    told = {"status": 200, "body": b"{}", "asked": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            told["asked"].append((self.path, dict(self.headers)))
            self.send_response(told["status"])
            if told["status"] == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(told["body"])

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told["url"] = f"http://127.0.0.1:{http.server_port}"
    yield told
    http.shutdown()
    thread.join()
    http.server_close()


def half_hour(actual, forecast=150):
    figures = {"forecast": forecast, "actual": actual, "index": "moderate"}
    return json.dumps({"data": [{"from": "2026-01-01T12:00Z", "to": "", "intensity": figures}]})


def test_uk_actual_figure(server):
    server["body"] = half_hour(143).encode()
    q = live.UKCarbonIntensity(server["url"]).intensity("GBR")
    assert q.to("g/kWh") == 143
    assert "actual" in q.basis and "2026-01-01T12:00Z" in q.basis and "127.0.0.1" in q.basis
    assert server["asked"][0][0] == "/intensity"
    assert carbon.co2e("5 kWh", factor=q, pue="personal").to("g") == pytest.approx(715)


def test_uk_forecast_is_said_to_be_one(server):
    server["body"] = half_hour(None).encode()
    q = live.UKCarbonIntensity(server["url"] + "/").intensity()
    assert q.to("g/kWh") == 150
    assert "forecast" in q.basis


def test_uk_knows_no_other_country(server):
    with pytest.raises(UsageError, match="Great Britain"):
        live.UKCarbonIntensity(server["url"]).intensity("FRA")
    assert not server["asked"]


def test_electricity_maps(server):
    server["body"] = json.dumps(
        {"zone": "US-CAL-CISO", "carbonIntensity": 231, "datetime": "2026-01-01T12:00:00Z",
         "emissionFactorType": "lifecycle", "isEstimated": True}
    ).encode()  # fmt: skip
    q = live.ElectricityMaps("secret", server["url"]).intensity("US-CAL-CISO")
    assert q.to("g/kWh") == 231
    assert "estimated" in q.basis and "lifecycle" in q.basis and "secret" not in q.basis
    path, headers = server["asked"][0]
    assert path == "/carbon-intensity/latest?zone=US-CAL-CISO"
    assert {k.casefold(): v for k, v in headers.items()}["auth-token"] == "secret"


@pytest.mark.parametrize(
    "body",
    [
        b"no json", b"[]", b"{}", b'{"data": []}', b"null",
        b'{"data": [{"from": "", "intensity": {"actual": null, "forecast": null}}]}',
        b'{"data": [{"from": "", "intensity": {"actual": "NaN", "forecast": 1}}]}',
        b'{"data": [{"from": "", "intensity": {"actual": -5, "forecast": 1}}]}',
        b'{"carbonIntensity": null}', b'{"carbonIntensity": true}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_answers_without_a_number(server, body):
    server["body"] = body
    for provider in (
        live.UKCarbonIntensity(server["url"]),
        live.ElectricityMaps("t", server["url"]),
    ):
        with pytest.raises(live.ProviderError):
            provider.intensity("GB")


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_errors_of_the_server(server, status):
    server["status"] = status
    with pytest.raises(live.ProviderError, match=r"say|Say"):
        live.UKCarbonIntensity(server["url"]).intensity()
    assert len(server["asked"]) == 1


def test_nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(live.ProviderError, match="could not be asked"):
        live.UKCarbonIntensity(f"http://127.0.0.1:{port}", timeout_s=2).intensity()


def test_addresses_and_tokens():
    for bad in ("file:///etc/passwd", "ftp://host", "host"):
        with pytest.raises(UsageError, match="https"):
            live.UKCarbonIntensity(bad)
    with pytest.raises(UsageError, match="token"):
        live.ElectricityMaps("")
    assert isinstance(live.UKCarbonIntensity(), live.IntensityProvider)
    assert isinstance(live.ElectricityMaps("t"), live.IntensityProvider)


def test_nothing_else_opens_a_connection(monkeypatch):
    """Factors, footprints and comparisons are told, never fetched."""
    from picojoule.green import factors, footprint, known, money
    from picojoule.green.model import Run

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    factors.intensity("eu-west-1")
    money.price_of("H100")
    known.compare("1e18 FLOP")
    footprint.of([Run("0" * 32, "s", energy_j=1.0)], {"region": "GBR"})

import os
import threading
import time

import numpy as np
import pytest
from assembly import KEY, Service, serving

from vjserver.recognisers import assemblyai
from vjserver.recognisers.assemblyai import AssemblyAIOptions, AssemblyAIRecogniser
from vjserver.speech.words import Hypothesis
from vjserver.types.errors import DeviceError

SOUND = np.random.default_rng(1).normal(0.0, 0.1, 16000 * 3).astype(np.float32)
OTHER = np.random.default_rng(2).normal(0.0, 0.1, 16000 * 2).astype(np.float32)


class Local:
    """Stands for the local recogniser: it says how much sound it was given."""

    def __init__(self):
        self.asked = []

    def open(self):
        pass

    def close(self):
        pass

    def decode(self, sound, language="", context="short", hints=()):
        self.asked.append((len(sound), context))
        return Hypothesis("what the local one heard", "en", 0.8)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setenv(assemblyai.KEY, KEY)
    rows = []

    def make(url, **options):
        one = AssemblyAIRecogniser(AssemblyAIOptions(url=url, **options))
        one._local = Local()
        rows.append(one)
        return one

    yield make
    for one in rows:
        one.close()


def test_words_come_while_somebody_speaks_and_the_formatted_sentence_at_its_end(made):
    service = Service()
    with serving(service) as url:
        one = made(url)
        assert one.decode(SOUND[:16000], "", "partial").text == "a small wooden"
        assert one.decode(SOUND[:32000], "", "partial").text.startswith("a small wooden boat")
        last = one.decode(SOUND, "", "short")
        assert last.text == "A small wooden boat drifts across a calm lake."
        assert last.fault == ""
        assert [word.text for word in last.words] == service.script
        assert (last.words[1].begin_s, last.words[1].end_s) == (0.3, 0.55)
        assert service.seconds == pytest.approx(3.0, abs=0.06)  # nothing was sent twice
        again = one.decode(OTHER, "", "short")
        assert again.text == "A small wooden boat drifts across a calm lake."  # of its own turn, and that once
        assert service.connections == 1
        assert not service.faults
        assert one._local.asked == []
        one.close()
        assert service.terminated == 1


def test_a_sentence_that_was_given_up_is_no_part_of_the_next(made):
    with serving(Service()) as url:
        one = made(url)
        one.decode(SOUND[:16000], "", "partial")
        assert one.decode(OTHER[:16000], "", "partial").text == "a small wooden"
        assert one.decode(OTHER, "", "short").text == "A small wooden boat drifts across a calm lake."


def test_cut_off_in_mid_sentence_the_local_one_hears_all_of_it(made):
    service = Service(break_after_s=1.5)
    with serving(service) as url:
        one = made(url)
        assert one.decode(SOUND[:16000], "", "partial").fault == ""
        found = one.decode(SOUND[:32000], "", "partial")
        while not found.fault:
            found = one.decode(SOUND[:32000], "", "partial")
        assert "the local recogniser goes on" in found.fault
        assert one.decode(SOUND, "", "short").text == "what the local one heard"
        assert one._local.asked[-1] == (len(SOUND), "short")  # the whole sentence, once


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (Service(refuse=401), "it does not take the key (HTTP 401): see ASSEMBLYAI_API_KEY"),
        (Service(close=1008), "it does not take the key, or the account (close 1008)"),
        (Service(close=3009), "too many sessions are open with this key (close 3009)"),
        (Service(close=3005), "the service has a fault (close 3005)"),
    ],
)
def test_who_is_refused_is_told_so_in_a_sentence_and_heard_by_the_local_one(made, service, why):
    with serving(service) as url:
        one = made(url)
        began_s = time.monotonic()
        found = one.decode(SOUND, "", "short")
        assert found.text == "what the local one heard"
        assert found.fault == f"AssemblyAI: {why}; the local recogniser goes on"
        assert KEY not in found.fault
        assert time.monotonic() - began_s < 3.0
        before = service.connections
        assert one.decode(OTHER, "", "short").fault == found.fault
        assert service.connections == before  # it is not asked again at once


def test_it_is_left_after_a_silence(made):
    service = Service()
    with serving(service) as url:
        one = made(url, idle_s=5.0)
        one.decode(SOUND, "", "short")
        one._session._heard_s -= 6.0
        deadline = time.monotonic() + 10.0
        while not service.terminated and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.terminated == 1
        assert one.decode(OTHER, "", "short").fault == ""
        assert service.connections == 2


def test_without_a_key_the_line_is_said(monkeypatch):
    monkeypatch.delenv(assemblyai.KEY, raising=False)
    with pytest.raises(DeviceError, match="set ASSEMBLYAI_API_KEY in the environment"):
        AssemblyAIRecogniser(AssemblyAIOptions()).open()


def test_nobody_there_is_a_sentence_too(made):
    found = made("ws://127.0.0.1:9/v3/ws").decode(SOUND, "", "short")
    assert found.fault.startswith("AssemblyAI: it cannot be reached")
    assert found.text == "what the local one heard"


@pytest.mark.filterwarnings("ignore:.*context manager:DeprecationWarning")  # websockets', of how they call it
def test_their_own_client_talks_to_our_stand_in(tmp_path, monkeypatch):
    """Else the stand-in would prove nothing."""
    trustme = pytest.importorskip("trustme")
    v3 = pytest.importorskip("assemblyai.streaming.v3")
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(tmp_path / "ca.pem"))
    service, turns, done = Service(), [], threading.Event()
    with serving(service, context) as url:
        client = v3.StreamingClient(v3.StreamingClientOptions(api_key=KEY, api_host=url.split("//")[1].split("/")[0]))
        client.on(v3.StreamingEvents.Turn, lambda _client, event: turns.append(event))
        client.on(v3.StreamingEvents.Termination, lambda _client, _event: done.set())
        client.connect(
            v3.StreamingParameters(sample_rate=16000, speech_model="universal-streaming-english", format_turns=True)
        )
        client.stream(iter([(SOUND[:12800] * 32767).astype("<i2").tobytes()]))
        client.force_endpoint() if hasattr(client, "force_endpoint") else None
        client.disconnect(terminate=True)
        assert done.wait(10.0)
    assert turns
    assert turns[0].transcript == "a small"
    assert service.terminated == 1
    assert not service.faults

"""NVIDIA boards, end to end: a scripted driver whose true energy is known."""

from __future__ import annotations

import ctypes
import math

import pytest

#: Of a load that moves faster than the sensor looks, the first and the last tick are in doubt.
MOVING = 0.3


def right(found: dict[str, float], within: float = 0.12, unseen_j: float = 0.0) -> None:
    """The truth lies inside the 99.999 % interval, the number near it even on a loaded machine.

    ``unseen_j``: what swings inside a tick can move at the two edges, which no tick tells.
    """
    assert found["low"] - unseen_j <= found["truth"] <= found["high"] + unseen_j, found
    assert found["joules"] == pytest.approx(found["truth"], rel=within), found


MEASURE = """
with pj.profile(sources=["nvml"]) as prof:
    time.sleep({seconds})
channel = prof.result.channels[0]
say(gpu=compare(prof), provenance=prof.energy["gpu:0"].provenance, field=channel.field,
    warnings=prof.warnings, gaps=len(prof.result.gaps), total=prof.energy_j,
    note=channel.note, basis=prof.energy["gpu:0"].basis, resolved=prof.energy["gpu:0"].resolved)
"""


@pytest.mark.parametrize(
    "script",
    [
        "wave=const;hi=350",
        "wave=const;hi=350;tick_ms=20;phase_us=7000;jitter_us=500",
        "wave=square;lo=70;hi=600;period_ms=130",
        "wave=square;lo=70;hi=600;period_ms=730;duty=0.3;phase_us=37000;jitter_us=1500",
    ],
)
def test_energy_is_the_true_one(nvml, script):
    said = nvml(MEASURE.format(seconds=1.6), script)
    # Of a step in the last tick its own time tells, and that jitters by 1.5 ms in one of these.
    unseen_j = (600 - 70) * 0.0015 if "jitter_us=1500" in script else 0.0
    right(said.gpu, within=0.03 if "const" in script else MOVING, unseen_j=unseen_j)
    assert said.provenance == "measured" and said.field == "energy" and said.resolved
    assert said.total == said.gpu["joules"]
    assert said.warnings == [] and said.gaps == 0


def test_swings_inside_a_tick_are_not_seen_at_the_edges(nvml):
    # Ten swings a tick: each tick has the same joules. An edge that falls into a swing is off by at
    # most half of its excess: (600 - 335) W for 5 ms, halved.
    said = nvml(MEASURE.format(seconds=1.6), "wave=square;lo=70;hi=600;period_ms=10")
    right(said.gpu, within=0.01, unseen_j=2 * 0.5 * 265 * 0.005)
    assert said.provenance == "measured" and said.warnings == [] and said.gaps == 0


def test_two_boards_are_each_right_and_add_up(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(1.6)
        say(first=compare(prof, 0), second=compare(prof, 1), total=prof.energy_j,
            counted=prof.result.counted, whole=doubt(truth(prof, 0) + truth(prof, 1), prof.total))
        """,
        "gpus=2;scale=1,0.4;phase_us=0,41000;period_ms=210",
    )
    right(said.first, MOVING)
    right(said.second, MOVING)
    right(said.whole, MOVING)
    assert said.second["truth"] < 0.5 * said.first["truth"]
    assert said.counted == ["gpu:0", "gpu:1"]
    assert said.total == pytest.approx(said.first["joules"] + said.second["joules"], rel=1e-12)


def test_regions_split_the_energy_of_a_board(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"]) as prof:
            with pj.region("a"):
                time.sleep(1.0)
            with pj.region("b"):
                time.sleep(0.5)
        a, b = prof.regions["a"], prof.regions["b"]
        say(a=a.energy_j, b=b.energy_j, total=prof.energy_j,
            a_w=a.energy_j / a.duration_s, b_w=b.energy_j / b.duration_s)
        """,
        "wave=const;hi=300",
    )
    assert said.a_w == pytest.approx(300, rel=0.05)
    assert said.b_w == pytest.approx(300, rel=0.05)
    assert said.a + said.b == pytest.approx(said.total, rel=0.02)


def test_no_thread_of_the_user_calls_the_driver(nvml):
    said = nvml(
        """
        me = threading.get_native_id()
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(0.3)
        prof.energy_j
        after_one = fake.fake_nvml_calls()
        profiles = []
        for _ in range(200):
            with pj.profile(sources=["nvml"]) as short:
                pass
            profiles.append(short)
        joules = [p.energy_j for p in profiles[-3:]]
        pj.doctor()
        say(mine=fake.fake_nvml_calls_by_thread(me), calls=fake.fake_nvml_calls(),
            after_one=after_one, joules=joules, resolved=[p.total.resolved for p in profiles])
        """
    )
    assert said.after_one > 0 and said.calls > said.after_one
    assert said.mine == 0
    assert all(math.isfinite(j) and j >= 0 for j in said.joules)
    assert not any(said.resolved)  # nothing so short can be seen by a sensor of 100 ms


def test_ticks_are_found_where_they_are(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(2.2)
        kept = prof.readings[prof.readings["channel"] == 0]
        off, inside = [], 0
        for reading in kept:
            k = fake.fake_nvml_last_tick_before(0, int(reading["end_ns"]))
            ticks = [fake.fake_nvml_tick_ns(0, k + i) for i in (0, 1)]
            off.append(min(abs(int(reading["end_ns"]) - t) for t in ticks))
        say(off=off)
        """,
        "phase_us=23000",
    )
    assert len(said.off) >= 15
    assert sorted(said.off)[len(said.off) // 2] < 5e6


def test_a_lost_board_disturbs_nothing(nvml):
    said = nvml(
        """
        done = 0
        with pj.profile(sources=["nvml"]) as prof:
            configure("keep=1;lost_at_s=0.7")
            for _ in range(16):
                time.sleep(0.1)
                done += 1
        found = prof.result
        say(done=done, gaps=[g.reason for g in found.gaps], gap_s=[
            (g.end_ns - g.begin_ns) * 1e-9 for g in found.gaps], joules=prof.energy_j,
            truth=truth(prof), warnings=found.warnings, text=str(prof))
        with pj.profile(sources=["nvml"]) as later:
            time.sleep(0.05)
        say(later=later.energy_j, later_warnings=later.warnings,
            later_gaps=[g.reason for g in later.result.gaps], later_text=str(later))
        with pj.profile() as all_meters:
            sum(range(100_000))
        say(domains=list(all_meters.energy), rest=all_meters.result.duration_s)
        """
    )
    assert said.done == 16
    assert any("lost" in reason.lower() for reason in said.gaps)
    assert max(said.gap_s) == pytest.approx(0.9, abs=0.5)
    assert math.isnan(said.joules) or 0 < said.joules < 1.03 * said.truth
    assert any("gpu:0" in words or "unknown" in words for words in said.warnings)
    assert math.isnan(said.later)  # nothing is made up of what was before
    assert any("lost" in reason.lower() for reason in said.later_gaps)
    assert "gpu:0" in said.domains


def test_a_while_without_permission_is_a_gap_and_energy_goes_on(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"]) as prof:
            configure("keep=1;denied_at_s=0.6;denied_until_s=1.2")
            time.sleep(3.2)
        found = prof.result
        last = prof.readings[prof.readings["channel"] == 0][-1]
        say(gaps=[g.reason for g in found.gaps], joules=prof.energy_j, truth=truth(prof),
            warnings=found.warnings, last_from_end_s=(found.end_ns - int(last["begin_ns"])) * 1e-9)
        """,
        "wave=const;hi=300",
    )
    assert any("permission" in reason.lower() for reason in said.gaps)
    assert math.isfinite(said.joules)
    assert 0.3 * said.truth < said.joules < 1.03 * said.truth
    assert said.last_from_end_s < 0.5  # readings came again


def test_a_counter_that_starts_anew_is_said_and_never_negative(nvml):
    said = nvml(
        """
        time.sleep(0.3)
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(0.8)
            configure("keep=1;reset_at_s=0.05")
            time.sleep(0.9)
        say(joules=prof.energy_j, truth=truth(prof), warnings=prof.warnings,
            least=float(min(j for j in prof.readings["joules"] if j == j)),
            resets=prof.overhead["counter_resets"])
        """
    )
    assert any("reset" in words for words in said.warnings)
    assert said.resets == 1
    assert said.least >= 0
    # What is lost is the energy of the tick of the reset, no more.
    assert 0.75 * said.truth < said.joules < 1.03 * said.truth


def test_a_counter_of_unknown_modulus_that_wraps_is_taken_for_reset(nvml):
    # NVML's counter is one of 64 bits: no modulus is assumed, and no energy is made up.
    said = nvml(
        """
        with pj.profile(sources=["nvml"]) as prof:
            time.sleep(1.8)
        say(joules=prof.energy_j, truth=truth(prof), warnings=prof.warnings,
            wraps=prof.overhead["counter_wraps"], resets=prof.overhead["counter_resets"])
        """,
        "wave=const;hi=400;wrap=200000",
    )
    assert said.wraps == 0 and said.resets >= 1
    assert any("reset" in words for words in said.warnings)
    assert 0 <= said.joules < 1.03 * said.truth


@pytest.mark.parametrize("script", ["latency_us=20000", "missed=0.1", "latency_us=20000;gpus=2"])
def test_slow_and_patchy_drivers(nvml, script):
    said = nvml(MEASURE.format(seconds=1.8), f"wave=const;hi=350;{script}")
    # Once in some 40 runs, beside other work, the total was one period too large, and its interval
    # did not know. Not explained; most likely the first tick of all was missed, and power not seen
    # to be steady enough (3 %) to tell.
    right(said.gpu, unseen_j=350 * 0.1 if "missed" in script else 0.0)


def test_without_a_counter_power_is_summed(nvml):
    # The load is constant: no reading ever differs from the one before it.
    said = nvml(MEASURE.format(seconds=1.6), "wave=const;hi=350;fields=186,185;energy_call=0")
    assert said.provenance == "modelled"
    assert said.field.startswith("power") and "power" in said.basis
    right(said.gpu, within=0.05)


@pytest.mark.parametrize(
    ("script", "field", "provenance"),
    [
        ("fields=", "energy", "measured"),
        ("fields=;fields_error=3", "energy", "measured"),
        ("fields=;energy_call=0", "power_average", "modelled"),
        ("fields=;energy_call=0;arch=5;usage=instant", "power_instant", "modelled"),
    ],
)
def test_older_drivers_are_asked_by_older_calls(nvml, script, field, provenance):
    said = nvml(MEASURE.format(seconds=1.5), f"wave=const;hi=350;{script}")
    assert (said.field, said.provenance) == (field, provenance)
    right(said.gpu, within=0.05)


DOCTOR = """
meter, = [m for m in pj.doctor().to_dict()["meters"] if m["meter"] == "nvml"]
say(findings=meter["findings"], domains=sorted({c["domain"] for c in meter["channels"]
    if "/" not in c["domain"]}), notes=[c["note"] for c in meter["channels"]])
"""


def test_a_driver_that_is_not_loaded_is_told_in_words(nvml):
    said = nvml(DOCTOR, "init_error=9")
    (finding,) = said.findings
    assert finding["state"] in ("refused", "absent")
    assert "driver" in finding["why"] and finding["remedy"]
    assert said.domains == []


def test_a_driver_that_tells_nothing_is_told_in_words(nvml):
    said = nvml(DOCTOR, "fields=;energy_call=0;usage=none")
    (finding,) = said.findings
    assert finding["state"] in ("refused", "absent")
    assert "neither energy nor power" in finding["why"]


BOARDS = "gpus=3;pci=00000000:30:00.0,00000000:10:00.0,00000000:20:00.0;uuids=" + ",".join(
    f"GPU-{c * 8}-0000-4000-8000-000000000000" for c in "abc"
)


@pytest.mark.parametrize(
    ("visible", "domains"),
    [
        (None, ["gpu:0", "gpu:1", "gpu:2"]),
        ("", []),
        ("-1", []),
        ("0", ["gpu:1"]),  # the first by PCI address
        ("2,1", ["gpu:0", "gpu:2"]),
        ("1,-1,0", ["gpu:2"]),
        ("GPU-bbbbbbbb-0000-4000-8000-000000000000", ["gpu:1"]),
        ("GPU-cc", ["gpu:2"]),
        ("GPU-cc,GPU-aa", ["gpu:0", "gpu:2"]),
        ("GPU-ffff", []),
    ],
)
def test_only_boards_that_cuda_shows_are_measured(nvml, visible, domains):
    env = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    said = nvml(DOCTOR, BOARDS, **env)
    assert said.domains == domains
    if not domains:
        (finding,) = said.findings
        assert "CUDA_VISIBLE_DEVICES" in finding["subject"] and finding["remedy"]


def test_a_slice_is_told_to_be_a_whole_board(nvml):
    slice_ = "MIG-11111111-0000-4000-8000-000000000000"
    said = nvml(DOCTOR, f"gpus=2;mig=1:{slice_}", CUDA_VISIBLE_DEVICES=slice_)
    assert said.domains == ["gpu:1"]
    assert all("MIG" in note and "whole board" in note for note in said.notes)


REFUSED = """
try:
    with pj.profile(sources=[{source!r}]):
        pass
except pj.PicojouleError as error:
    say(kind=type(error).__name__, words=str(error))
"""


def test_all_boards_hidden_and_asked_for_is_an_error_with_a_remedy(nvml):
    said = nvml(REFUSED.format(source="nvml"), CUDA_VISIBLE_DEVICES="")
    assert said.kind == "NoMeterError"
    assert "unset CUDA_VISIBLE_DEVICES" in said.words


def test_no_driver_is_an_error_with_a_remedy(scenario):
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        pass
    else:
        pytest.skip("this machine has an NVIDIA driver")
    said = scenario(REFUSED.format(source="nvml"))
    assert said.kind == "NoMeterError"
    assert "libnvidia-ml.so.1" in said.words
    assert "install" in said.words and "container" in said.words


def test_no_such_meter_lists_those_that_there_are(scenario):
    said = scenario(REFUSED.format(source="nope"))
    assert said.kind == "UsageError"
    assert all(name in said.words for name in ("nope", "nvml", "rapl", "hwmon", "cpu_estimate"))


def test_a_recording_is_played_again(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"], output="run.pj") as first:
            time.sleep(1.5)
        say(first=compare(first), begin=first.duration_s)
        with pj.profile(sources=["replay:run.pj"]) as second:
            time.sleep(first.duration_s)
        loaded = pj.load("run.pj")
        say(second=second.energy_j, domains=[list(first.energy), list(second.energy)],
            notes=[c.note for c in second.result.channels], warnings=second.warnings,
            meters=[c.meter for c in second.result.channels], loaded=loaded.energy_j)
        """,
        "wave=const;hi=350",
    )
    right(said.first)
    assert said.loaded == pytest.approx(said.first["joules"], rel=1e-9)
    assert said.second == pytest.approx(said.first["joules"], rel=0.08)
    assert said.domains[0] == said.domains[1]
    assert set(said.meters) == {"replay"}
    assert all("replayed" in note for note in said.notes)


def test_a_fixed_rate_records_every_tick(nvml):
    said = nvml(
        """
        with pj.profile(sources=["nvml"], rate_hz=1000) as prof:
            time.sleep(1.6)
        energy = prof.readings[prof.readings["channel"] == 0]
        say(gpu=compare(prof), ticks=len(energy), expected=prof.duration_s / 0.1)
        """,
        "wave=const;hi=350",
    )
    right(said.gpu)
    assert said.ticks == pytest.approx(said.expected, abs=3)


WORKERS = """
import multiprocessing

def work(queue):
    with pj.profile(sources=["nvml"]) as prof, pj.region("inside a worker"):
        time.sleep(0.4)
    queue.put((prof.energy_j, truth(prof), prof.regions["inside a worker"].calls))

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with pj.profile("parent", sources=["nvml"]) as prof:
        queue = context.Queue()
        workers = [context.Process(target=work, args=(queue,)) for _ in range(2)]
        for w in workers:
            w.start()
        found = [queue.get(timeout=50) for _ in workers]
        for w in workers:
            w.join(50)
        queue.close()
        queue.join_thread()
    say(found=found, codes=[w.exitcode for w in workers], parent=compare(prof),
        regions=[r.name for r in prof.regions])
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_measure_for_themselves(nvml, method):
    # Fork is at odds with threads, of which picojoule has one; Python 3.12 and newer warn of that.
    code = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
    said = nvml(code + WORKERS.format(method=method), "wave=const;hi=300", timeout=60)
    assert said.codes == [0, 0]
    for joules, truth, calls in said.found:
        assert joules == pytest.approx(truth, rel=0.15)
        assert calls == 1
    right(said.parent)
    assert "inside a worker" not in said.regions


def test_a_forked_child_has_no_result_of_its_parents(nvml):
    said = nvml(
        """
        import warnings; warnings.simplefilter("ignore", DeprecationWarning)
        prof = pj.profile(sources=["nvml"])
        with prof:
            pid = os.fork()
            if pid == 0:
                prof.__exit__(None, None, None)
                try:
                    prof.result
                except pj.NotFinishedError as error:
                    os._exit(0 if "parent" in str(error) else 3)
                os._exit(4)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            time.sleep(1.2)
        say(code=code, gpu=compare(prof))
        """,
        "wave=const;hi=350",
    )
    assert said.code == 0
    right(said.gpu)


@pytest.mark.parametrize("script", ["", "latency_us=150000"])
def test_the_interpreter_ends_with_a_profile_open(nvml, script):
    said = nvml(
        """
        prof = pj.profile("open", sources=["nvml"], output="open.pj")
        prof.__enter__()
        pj.region("left open").__enter__()
        time.sleep(0.5)
        say(entered=True)
        """,
        script,
        timeout=40,
    )
    assert said.entered and said.stderr == ""

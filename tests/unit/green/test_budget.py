"""Budgets on scripted profiles, whose joules are known at every look."""

import math
import os
import platform
import threading
import warnings
from types import SimpleNamespace

import pytest
from cost_studies import run, study

import picojoule as pj
from picojoule.errors import UsageError
from picojoule.green import ledger
from picojoule.green.budget import BudgetExceeded, BudgetWarning, budget
from picojoule.green.quantities import UnitError
from picojoule.results import Estimate


class Scripted:
    """Looks like an open profile; ``joules`` is what a snapshot shows."""

    finished = False

    def __init__(self, joules=0.0, seconds=0.0, flops=math.nan, basis="scripted"):
        self.joules, self.seconds, self.flops, self.basis = joules, seconds, flops, basis
        self.looks = 0

    def snapshot(self):
        self.looks += 1
        total = Estimate(self.joules, 0.0, "measured", basis=self.basis)
        return SimpleNamespace(
            total=total, duration_s=self.seconds, flops=SimpleNamespace(model=self.flops)
        )


def held(profile, **told):
    return budget(profile=profile, every_s=0.0, **told)


def test_raises_when_spent_and_not_before():
    meter = Scripted()
    with held(meter, energy="10 J", warn_at=2.0) as b:
        meter.joules = 9.99
        b.check()
        assert b.exceeded is None
        meter.joules = 10.0
        with pytest.raises(BudgetExceeded, match=r"energy 10\.0 J of 10\.0 J \(100 %\)") as stop:
            b.check(force=True)
        assert stop.value.status.kind == "energy"
        assert b.exceeded is stop.value.status
        with pytest.raises(BudgetExceeded):  # it stays spent
            b.step()


def test_the_checkpoint_comes_first_and_once():
    meter, said = Scripted(joules=20.0), []
    with held(meter, energy="10 J", checkpoint=lambda: said.append("saved")) as b:
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                b.check(force=True)
            said.append("stopped")
    assert said == ["saved", "stopped", "stopped", "stopped"]


def test_a_failing_checkpoint_does_not_hide_the_stop():
    def fails():
        raise OSError("disk full")

    with (
        held(Scripted(joules=20.0), energy="10 J", checkpoint=fails) as b,
        pytest.raises(BudgetExceeded) as stop,
    ):
        b.check(force=True)
    assert isinstance(stop.value.__cause__, OSError)
    assert "disk full" in stop.value.__notes__[0]


def test_a_function_is_called_once_after_the_checkpoint():
    said = []
    with held(
        Scripted(joules=20.0), energy="10 J",
        checkpoint=lambda: said.append("saved"), on_exceed=lambda s: said.append(s.kind),
    ) as b:  # fmt: skip
        b.check(force=True)
        b.check(force=True)
        b.step()
    assert said == ["saved", "energy"]


def test_warn_warns_once():
    with held(Scripted(joules=20.0), energy="10 J", on_exceed="warn") as b:
        with pytest.warns(BudgetWarning, match="budget spent"):
            b.check(force=True)
        b.check(force=True)


def test_warns_when_nearly_spent_once():
    meter = Scripted(joules=8.0)
    with held(meter, energy="10 J") as b:
        with pytest.warns(BudgetWarning, match=r"nearly spent: energy 8\.00 J"):
            b.check(force=True)
        meter.joules = 9.0
        b.check(force=True)


def test_leaving_the_block_warns_and_does_not_raise():
    meter = Scripted()
    with pytest.warns(BudgetWarning, match="at the end"), held(meter, energy="10 J"):
        meter.joules = 11.0


def test_an_error_of_the_program_goes_its_way():
    meter = Scripted(joules=11.0)
    with pytest.raises(ZeroDivisionError), held(meter, energy="10 J"):
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), held(meter, energy="10 J") as b, b.region("inner"):
        _ = 1 / 0


def test_the_end_of_a_region_is_a_safe_point():
    meter = Scripted()
    reached = []

    def epoch(b):
        with b.region("epoch"):
            meter.joules = 12.0
            reached.append("the end of the region")

    with held(meter, energy="10 J") as b, pytest.raises(BudgetExceeded):
        epoch(b)
    assert reached


def test_co2e_money_hours_and_flops():
    meter = Scripted(joules=3.6e6, seconds=3600.0, flops=5e12)
    with held(
        meter, co2="1 kg", money="10 EUR", hours=10, flops="10 TFLOP", factor="200 g/kWh",
        pue=1.5, price_per_kwh="0.4 EUR/kWh", devices=4,
    ) as b:  # fmt: skip
        b.check(force=True)
        spent = {kind: s.spent for kind, s in b.statuses.items()}
        assert spent["co2e"].to("g") == pytest.approx(300.0)
        assert spent["money"].to("EUR") == pytest.approx(0.6)
        assert spent["hours"].to("h") == pytest.approx(4.0)
        assert spent["flops"].to("TFLOP") == pytest.approx(5.0)
    with held(meter, money="10 USD", price_per_device_hour="2.5 USD/h", devices=2) as b:
        b.check(force=True)
        assert b.statuses["money"].spent.to("USD") == pytest.approx(5.0)


def test_flops_told_to_step_add_up():
    with held(Scripted(), flops=10.0, warn_at=2.0) as b:
        b.step(flops=4.0)
        b.step(flops=4.0)
        with pytest.raises(BudgetExceeded):
            b.step(flops=4.0)


def test_an_unknown_pue_holds_the_budget_by_its_upper_bound():
    meter = Scripted(joules=3.6e6)
    with held(meter, co2="10 kg", region="SWE") as b:
        b.check(force=True)
    one = held(meter, co2="10 kg", region="SWE", pue=1.0)
    one.check(force=True)
    bounds = b.statuses["co2e"].spent.value / one.statuses["co2e"].spent.value
    assert bounds > 1.5
    assert any("upper bound" in note and "PUE" in note for note in b.lines())


def test_what_has_no_energy_is_said_once_and_stops_nothing():
    with held(Scripted(joules=math.nan, basis="no meter"), energy="10 J") as b:
        with pytest.warns(BudgetWarning, match="cannot be held: energy unknown .*no meter"):
            b.check(force=True)
        b.check(force=True)
        assert b.exceeded is None


@pytest.mark.parametrize(
    ("told", "error", "words"),
    [
        ({}, UsageError, "needs a limit"),
        ({"co2": "2 kg"}, UsageError, "region='GBR'"),
        ({"co2": "2 kg", "region": "SWE", "factor": "20 g/kWh"}, UsageError, "two factors"),
        ({"money": "2 EUR"}, UsageError, "needs a price"),
        ({"money": "2 EUR", "price_per_device_hour": "2 USD/h"}, UnitError, "no quantity of"),
        ({"money": "2 EUR", "price_per_device_hour": "2 EUR/kWh"}, UnitError, "no quantity of"),
        ({"energy": 5}, UsageError, "no unit"),
        ({"energy": "5 kg"}, UnitError, "no quantity of"),
        ({"energy": "-5 kWh"}, UsageError, "above 0"),
        ({"energy": "5 kWh", "on_exceed": "stop"}, UsageError, "on_exceed"),
    ],
)
def test_calls_that_mean_nothing(told, error, words):
    with pytest.raises(error, match=words):
        budget(**told)


def test_the_studys_other_runs_count():
    here = {"status": "running", "pid": os.getpid(), "host": platform.node()}
    told = study(
        run({"a": 1}, joules=6.0), run({"a": 2}, joules=1.0, status="failed"),
        run({"a": 3}, joules=50.0, **here),  # this one: seen in the profile
        run({"a": 4}, joules=1.0, status="running", pid=1, host="elsewhere"),
        run({"a": 5}, energy_basis="no meter"),
    )  # fmt: skip
    meter = Scripted(joules=1.0)
    with held(meter, energy="10 J", study=told) as b, pytest.warns(BudgetWarning, match="nearly"):
        b.check(force=True)
    status = b.statuses["energy"]
    assert (status.own.value, status.spent.value) == (1.0, 9.0)
    assert any("1 of 4 runs is unknown: no meter" in note for note in b.notes)
    meter.joules = 2.0
    with pytest.raises(BudgetExceeded):
        held(meter, energy="10 J", study=told).check(force=True)


def test_a_study_in_the_ledger_by_name_or_as_opened(tmp_path):
    path = tmp_path / "ledger.db"
    assert held(Scripted(), energy="10 J", study="s", ledger=path).notes == []  # its first run
    ledger.open(path).add(run({"a": 1}, joules=6.0), run({"a": 2}, joules=2.5, status="failed"))
    for named in ({"study": "s", "ledger": path}, {"study": pj.study("s", ledger=path)}):
        b = held(Scripted(joules=1.0), energy="10 J", warn_at=2.0, **named)
        b.check(force=True)
        assert b.statuses["energy"].spent.value == pytest.approx(9.5)


def test_the_run_under_way_is_counted_once(tmp_path):
    opened = pj.study("s", ledger=tmp_path / "ledger.db")
    with opened.profile(sources="cpu_estimate"):
        sum(range(300_000))
    with opened.profile(sources="cpu_estimate") as prof:
        sum(range(300_000))
        before = opened.read()
        b = held(prof, energy="1 GWh", study=opened)
        b.check(force=True)
    done = [r for r in before if r.status == "ok"]
    assert len(done) == 1 and len(before) == 2
    status = b.statuses["energy"]
    assert status.spent.value - status.own.value == pytest.approx(done[0].energy_j)


def test_settings_of_the_study_bring_the_factor():
    told = study(run({"a": 1}, joules=3.6e6), carbon_factor="100 g/kWh", pue=1.0)
    b = held(Scripted(joules=3.6e6), co2="1 kg", study=told)
    b.check(force=True)
    assert b.statuses["co2e"].spent.to("g") == pytest.approx(200.0)


def test_an_argument_against_a_setting_of_the_study():
    told = study(run({"a": 1}, joules=3.6e6), carbon_factor="100 g/kWh", pue=1.0)
    with pytest.raises(UsageError, match="region= of the budget and the study's setting carbon_f"):
        held(Scripted(joules=3.6e6), co2="1 kg", study=told, region="GBR")
    # The same thing told twice is a change of it, and joules need no factor.
    held(Scripted(joules=3.6e6), co2="1 kg", study=told, factor="200 g/kWh")
    held(Scripted(joules=3.6e6), energy="10 J", study=told, region="GBR")


def test_looks_are_rare():
    meter = Scripted()
    with budget(profile=meter, energy="10 J", every_s=3600.0) as b:
        for _ in range(1000):
            b.step()
        assert meter.looks == 1
        b.check(force=True)
        assert meter.looks == 2


def test_the_forecast_warns_of_what_will_not_suffice():
    meter = Scripted()
    with held(meter, energy="100 J") as b, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for i in range(1, 11):
            meter.joules = 2.0 * i
            b.step(total=80)
        whole = b.forecast()
    assert whole.value == pytest.approx(160.0)
    assert [str(w.message) for w in said] == ["the run will pass its budget: 160 J of 100 J"]
    with pytest.raises(UsageError, match="no budget of 'co2e'"):
        b.forecast("co2e")


def test_only_the_thread_that_asks_is_stopped_and_one_checkpoint_is_made():
    meter, saved, stopped = Scripted(joules=20.0), [], []
    b = held(meter, energy="10 J", checkpoint=lambda: saved.append(threading.get_ident()))

    def work():
        try:
            b.check(force=True)
        except BudgetExceeded:
            stopped.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(saved) == 1 and len(stopped) == 8 and saved[0] in stopped


def test_on_a_real_profile():
    assert pj.budget is budget
    with pj.profile(sources="cpu_estimate") as prof, pj.budget(energy="1 GWh", profile=prof) as b:
        sum(range(200_000))
        b.check(force=True)
        assert not prof.finished
    assert b.statuses["energy"].share < 1e-6
    with pj.budget(hours="1000 h") as own:
        own.check(force=True)
    assert own.statuses["hours"].spent.value > 0

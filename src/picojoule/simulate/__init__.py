"""Simulated sensors and workloads of which the exact truth is known.

What accuracy to expect from a given sensor, for a given kind of work, in a given time, can be tried
here before it is trusted anywhere:

>>> import picojoule as pj
>>> sim = pj.simulate.run("layered", sensor="nvml_energy", duration_s=20, seed=1, edges=20e-6)
>>> found = pj.attribute(**sim.arguments())
>>> off = abs(found.energy - sim.truth.energy).sum() / sim.truth.energy.sum()
>>> bool(off < 0.1)
True

The one entry is::

    run(workload="layered", sensor="gh100_instant", *, duration_s=60.0, seed=0, edges="exact",
        board="ideal", rise_s=0.0, slow_share=0.0, slow_s=0.15, phase_s=None, faults=None,
        assumed=None, **parameters) -> Simulation

``workload`` is a name in ``WORKLOADS`` (layered, identical, decode, alternate, drift, streams,
aliasing, faults, wrong_sensor, wrong_prior, constant, square, steps, calibrate), whose ``help`` has
its parameters, or a ``Work`` with spans of your own. ``sensor`` is a name in ``SENSORS`` or a
``Sensor``. ``edges`` says how well the reader knows when the sensor ticked: ``"exact"``, a standard
deviation in seconds, ``"poll"``, ``"locked"`` or a ``Poll``.

The ``Simulation`` has ``.begin_ns .end_ns .value .edge_std_ns .value_std .contiguous`` and
``.span_begin_ns .span_end_ns .span_class .span_stream``; ``.arguments()`` and ``.priors(cv)`` for
``pj.attribute``; ``.truth`` (``.energy .rate .baseline_energy .baseline_rate .time_s .total``) of
the interval that the readings cover and ``.truth_between(begin_ns, end_ns)`` of any; ``.power(t)``
and ``.energy(begin, end)``; ``.trace()`` and ``.save("x.pj")`` for ``pj.load``. All times are
nanoseconds from the begin. Nothing is sampled: truth is exact to rounding.

``pj.profile(sources="simulate:nvml_energy,workload=steps")`` plays a sensor as a live meter, to try
everything behind a meter on a machine that has none; ``live`` tells its waveforms and its truth.
"""

from picojoule.simulate.curve import Curve
from picojoule.simulate.faults import Faults
from picojoule.simulate.live_meter import Live, live
from picojoule.simulate.load import Drift, Load, Truth, Work
from picojoule.simulate.polling import LOCKED, Poll
from picojoule.simulate.sensors import SENSORS, Sensor
from picojoule.simulate.simulation import Simulation, run
from picojoule.simulate.workloads import WORKLOADS, Workload

__all__ = [
    "LOCKED",
    "SENSORS",
    "WORKLOADS",
    "Curve",
    "Drift",
    "Faults",
    "Live",
    "Load",
    "Poll",
    "Sensor",
    "Simulation",
    "Truth",
    "Work",
    "Workload",
    "live",
    "run",
]

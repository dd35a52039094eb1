"""``pj.profile``: measure a block, or every call of a function."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from picojoule import _annotations, _arguments, _core
from picojoule._recorded import PmSampling, recorded
from picojoule.errors import NoMeterError, NotFinishedError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from picojoule.counters_view import Counter
    from picojoule.flops.summary import Flops
    from picojoule.green.recording import Recording, Told
    from picojoule.kernels import KernelTable
    from picojoule.results import Estimate, Profile, RegionTable

#: How long the first look at a result may wait for the closing tick of a meter that stalls.
_CLOSING_S = 10.0

# The vendors' wheels lie below site-packages, where no loader looks.
_core.look_for_libraries_in(sys.path)

_open: weakref.WeakSet[profile] = weakref.WeakSet()
_lock = threading.Lock()


class profile:  # noqa: N801 - a verb to its users: `with pj.profile():`
    """Measure the energy of a ``with`` block, or of every call of a function.

    >>> with pj.profile("training", output="run.pj") as prof:      # doctest: +SKIP
    ...     train()
    >>> print(prof); prof.energy_j, prof.regions["forward"].energy_j

    Leaving the block never waits for a sensor. The reading that closes the measurement arrives with
    the meter's next tick (100 ms on most data-centre GPUs), and the first look at a result waits
    for it, at most one tick. With ``output`` the trace is written while the program runs: after a
    crash or a kill, ``pj.load`` reads what was recorded up to the last second.

    As a decorator (``@pj.profile`` or ``@pj.profile(name="step")``) each call is a profile of its
    own; the latest is ``function.last_profile``. Given an ``output``, calls after the first get
    numbered folders beside it.

    Args:
        name: what to call it; a named profile also shows as a region in profiles around it.
        sources: names of meters (``["nvml"]``, ``["rapl", "cpu_estimate"]``,
            ``["replay:run.pj"]``, ``["simulate:nvml_energy,workload=steps"]``: see
            ``picojoule.simulate.live``), or None for all that work here. Where no meter of the
            CPU's energy works, None includes the labelled estimate from CPU time.
        rate_hz: read every meter at this fixed rate, at most 5000. None (the default) follows each
            meter's own clock, which finds its ticks far more exactly at a fraction of the cost.
        output: folder to write the trace to; it must not exist yet.
        kernels: what of the GPU's kernels and copies to record. None (the default) or ``"all"``:
            each of them, once the program uses a GPU. ``"sums"``: their sums by region and kernel
            only, for runs of weeks. ``"overlay"``: none, so that another profiler can hold the
            vendor's library. False or ``"off"``: none.
        annotations: whether ranges that libraries and the program mark for other profilers count
            as regions: NVTX ranges (push and pop; start and end) and PyTorch's
            ``record_function``. Only those opened inside the block are seen. A profile with False
            still shows them where another open profile wants them. NVTX is told of picojoule when
            picojoule is imported; a library that used NVTX earlier, and programs run under another
            NVTX tool, show none.
        counts: a file of ``picojoule count``: FLOPs and bytes of this program's kernels, counted by
            the hardware in a run of its own.
        pm_interval_us: sample the GPU's performance monitors (pipe cycles, instructions, bytes) at
            this interval, 10 us to 1 s; see ``picojoule.counters.PmSampler``. It takes a
            permission, and may make the driver hold the clocks, which changes the energy; where it
            is refused the profile says so and goes on.
        study: name of a study, or what ``pj.study`` gave: the run gets a row in the ledger, at its
            begin, while it runs and at its end. Entering waits for one line in a file, and not for
            the ledger; a ledger that cannot be written never stops the program.
        config: hyper-parameters of the run: a mapping, or anything with a JSON form.
        fold: which fold of a cross-validation.
        seed: its seed. Folds and seeds are keys of their own, and no part of ``config``.
        role: what the run is for: "tune" (the default), "final", "ablation", "debug" or "eval".

    Raises:
        UsageError: an absurd rate, an unknown choice of kernels or annotations, no valid source
            name, a profile entered twice, an unknown role, a configuration without a JSON form, or
            one of these without a study.
        ForeignTraceError: ``counts`` is no file of ``picojoule count``.
        NoMeterError: a meter named in ``sources`` does not work here; says why and what mends it.
        OSError: ``output`` cannot be created.
    """

    def __new__(
        cls, name: Any = None, *args: Any, **kwargs: Any
    ) -> Any:  # @pj.profile without parentheses decorates at once
        if callable(name) and not isinstance(name, str):
            if args or kwargs:
                raise TypeError(
                    "profile(function) takes no other argument; use profile(...)(function)"
                )
            return cls(getattr(name, "__qualname__", None))(name)
        return super().__new__(cls)

    def __init__(
        self,
        name: str | None = None,
        *,
        sources: str | Sequence[str] | None = None,
        rate_hz: float | None = None,
        output: str | os.PathLike[str] | None = None,
        kernels: str | bool | None = None,
        annotations: bool = True,
        counts: str | os.PathLike[str] | None = None,
        pm_interval_us: float | None = None,
        study: Any = None,
        config: Any = None,
        fold: Any = None,
        seed: Any = None,
        role: str | None = None,
    ) -> None:
        """See the class."""
        if name is not None and not isinstance(name, str):
            raise TypeError(f"a profile's name must be a str, not {type(name).__name__}")
        self.name = name or ""
        self._sources = _arguments.sources_of(sources)
        self._rate_hz = _arguments.rate_of(rate_hz)
        self._output = None if output is None else os.fspath(output)
        self._kernels = _arguments.kernels_of(kernels)
        self._annotations = _arguments.annotations_of(annotations)
        self._counts = _arguments.counts_of(counts)
        self._pm = None if pm_interval_us is None else PmSampling(pm_interval_us)
        self._told = _arguments.study_of(study, role, config, fold, seed)
        self._recording: Recording | None = None
        self._annotated = False  # this profile counts among those that want annotations
        self._session: _core.Session | None = None
        self._region: _core.region | None = None
        self._result: Profile | None = None
        self._saved = False
        self._pid = os.getpid()

    # ---- the block ----

    def __enter__(self) -> Self:
        """Begin; waits only for meters that are not being read, and for the trace's first frame."""
        if self._session is not None:
            raise UsageError(
                "this profile was entered already: a profile measures once. "
                "Make a new one with picojoule.profile(...) for each block."
            )
        journal = "" if self._output is None else self._create_output(self._output)
        sources = (
            None if self._sources is None else [_arguments.native_source(s) for s in self._sources]
        )
        # Who recorded it is asked for now only if a journal needs it.
        meta = _meta() if journal else []
        try:
            self._session = _core.begin(
                self.name, sources, self._rate_hz, journal, meta, self._kernels
            )
        except ValueError as error:
            self._remove_output()
            raise UsageError(str(error)) from None
        except RuntimeError as error:
            self._remove_output()
            raise NoMeterError(str(error)) from None
        if self._output is not None:
            with _lock:
                _open.add(self)
        if self.name:
            self._region = _core.region(self.name)
            self._region.__enter__()
        if self._annotations:
            _annotations.begin()
            self._annotated = True
        if self._pm is not None:
            self._pm.begin()
        if self._told is not None:
            self._record(self._told)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End; waits for nothing. An exception passes through."""
        if self._session is None:
            raise UsageError(
                "this profile was never entered; use it as `with picojoule.profile():`"
            )
        if self._pm is not None:
            self._pm.end()
        if self._annotated:
            self._annotated = False
            _annotations.end()
        if self._region is not None:
            region, self._region = self._region, None
            region.__exit__(kind, error, traceback)
        self._session.end()
        if self._recording is not None:
            self._recording.end(error)

    async def __aenter__(self) -> Self:
        """The same in ``async with``."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The same in ``async with``."""
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``: each call is a profile of its own."""
        from picojoule import _decorate

        numbers = itertools.count(1)  # whose next() is atomic: calls may come from any thread

        def make() -> profile:
            number = next(numbers)
            output = self._output
            if output is not None and number > 1:
                first = Path(output)
                output = str(first.with_name(f"{first.stem}-{number}{first.suffix}"))
            one = type(self)(
                self.name or getattr(function, "__qualname__", None),
                sources=self._sources,
                rate_hz=self._rate_hz or None,
                output=output,
                kernels=self._kernels,
                annotations=self._annotations,
            )
            one._counts = self._counts
            one._told = None if self._told is None else self._told.again()
            one._pm = None if self._pm is None else PmSampling(self._pm.interval_us)
            told.last_profile = one
            return one

        wrapped = _decorate.profiled(make, function)
        # What `Class.method` gives is the function inside a staticmethod or classmethod.
        told: Any = wrapped
        if isinstance(wrapped, (staticmethod, classmethod)):
            told = wrapped.__func__
        told.last_profile = None
        return wrapped

    # ---- the study ----

    def _record(self, told: Told) -> None:
        from picojoule.green.recording import Recording

        try:
            self._recording = Recording(told, self)
        except Exception as error:  # the ledger's trouble is none of the program's
            print(f"picojoule: this run is not in the ledger: {error}", file=sys.stderr)

    def score(
        self,
        *,
        larger_is_better: bool | Mapping[str, bool] | None = None,
        examples: float | None = None,
        dataset: str | None = None,
        dataset_size: float | None = None,
        parameters: float | None = None,
        flops: float | None = None,
        device_count: float | None = None,
        device_name: str | None = None,
        **scores: float,
    ) -> None:
        """Tell what the run reached, and what is known of its size; inside the block or after it.

        >>> p.score(accuracy=0.91, examples=3 * 50_000)            # doctest: +SKIP

        May be called again: a score told twice has its last value.

        Args:
            larger_is_better: of these scores, or name -> bool. None: the study's setting holds,
                but for names such as "loss", "error", "perplexity", "rmse" or "wer": those are
                better when smaller.
            examples: training examples processed: size of the data times epochs.
            dataset: id of the data.
            dataset_size: examples in it.
            parameters: of the model.
            flops: model FLOPs of the run; taken before any that were counted.
            device_count: nodes or accelerators that count as device-hours; taken before those
                that were measured.
            device_name: what they are.
            **scores: name and value; nan is a result, too.

        Raises:
            UsageError: the profile has no study, a score is no number, or a size is negative.
            NotFinishedError: it was not entered yet, or this process is a forked child.
        """
        from picojoule.green import recording

        facts = recording.checked_facts(
            examples=examples,
            dataset=dataset,
            dataset_size=dataset_size,
            parameters=parameters,
            flops=flops,
            device_count=device_count,
            device_name=device_name,
        )
        values = recording.checked_scores(scores)
        if self._told is None:
            raise UsageError("a score belongs to a run of a study; give the profile study='name'")
        if self._session is None:
            raise NotFinishedError("nothing runs yet: this profile was never entered")
        if self._recording is not None:
            self._recording.score(facts, values, larger_is_better)

    # ---- the result ----

    @property
    def finished(self) -> bool:
        """Whether the block has been left."""
        return self._session is not None and (self._session.end_ns != 0 or not self._session.mine)

    @property
    def result(self) -> Profile:
        """The immutable result. The first look waits for the closing tick, at most one tick.

        Raises:
            NotFinishedError: the block is still open (see ``snapshot``), or this process is a
                forked child of the one that measured.
        """
        if self._result is not None:
            return self._result
        session = self._session
        if session is None:
            raise NotFinishedError("nothing was measured yet: this profile was never entered")
        if os.getpid() != self._pid:
            raise NotFinishedError(
                "this profile belongs to the parent process; a forked child measures with its own"
            )
        if session.end_ns == 0:
            raise NotFinishedError(
                "the profile is still open; its result exists after the block. "
                "Use snapshot() for what happened so far."
            )
        session.wait(_CLOSING_S)
        self._finish_output()
        if self._result is None:
            from picojoule._runs import profile_of

            self._result = profile_of(recorded(session, self._counts, self._pm))
        return self._result

    def snapshot(self) -> Profile:
        """What happened so far, without waiting; the last tick is open, which widens intervals.

        Raises:
            NotFinishedError: the profile was never entered.
        """
        if self._session is None:
            raise NotFinishedError("nothing was measured yet: this profile was never entered")
        from picojoule._runs import profile_of

        return profile_of(recorded(self._session, self._counts, self._pm))

    def _finish_output(self) -> None:
        """Turn the journal into the finished trace; once."""
        if self._output is None or self._saved or self._session is None:
            return
        self._saved = True
        with _lock:
            _open.discard(self)
        from picojoule import _trace
        from picojoule._runs import profile_of

        trouble = self._session.flush(_CLOSING_S)
        trace = recorded(self._session, self._counts, self._pm)
        self._result = profile_of(trace)
        words = _trace.finish(self._output, trace, trouble)
        if words:
            from dataclasses import replace

            self._result = replace(self._result, warnings=(*self._result.warnings, words))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a new folder ``path``.

        Raises:
            OSError: it cannot be written, or exists already.
            NotFinishedError: the block is still open.
        """
        from picojoule import _trace

        _ = self.result  # waits for the closing tick
        assert self._session is not None
        _trace.save(path, recorded(self._session, self._counts, self._pm))

    @property
    def energy_j(self) -> float:
        """Joules over all counted domains; nan if nothing could measure."""
        return self.result.energy_j

    @property
    def duration_s(self) -> float:
        """Seconds between entering and leaving."""
        if self._session is not None and self._session.end_ns:
            return (self._session.end_ns - self._session.begin_ns) * 1e-9
        return self.result.duration_s

    @property
    def energy(self) -> Mapping[str, Estimate]:
        """Domain -> estimate with ``.joules``, ``.interval(level)``, ``.provenance``."""
        return self.result.energy

    @property
    def total(self) -> Estimate:
        """The sum over counted domains."""
        return self.result.total

    @property
    def regions(self) -> RegionTable:
        """The region tree; by path or position."""
        return self.result.regions

    @property
    def kernels(self) -> KernelTable:
        """What ran on devices, by the region that launched it; see ``picojoule.kernels``."""
        return self.result.kernels

    @property
    def flops(self) -> Flops:
        """FLOPs and bytes, as far as they are known: see ``pj.count_flops``, ``pj.kernel_cost``."""
        return self.result.flops

    @property
    def counters(self) -> Mapping[str, Counter]:
        """``"gpu:0/sm_clock"`` -> series that is no energy; see ``picojoule.counters_view``."""
        return self.result.counters

    @property
    def readings(self) -> NDArray[Any]:
        """Every reading, one row each; see ``Profile``."""
        return self.result.readings

    @property
    def overhead(self) -> Mapping[str, float]:
        """What the measurement itself cost."""
        return self.result.overhead

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the result must know."""
        return self.result.warnings

    def report(self, path: str) -> None:
        """Write the HTML report to ``path``."""
        self.result.report(path)

    def __str__(self) -> str:
        """The table."""
        return str(self.result) if self.finished else repr(self)

    def __repr__(self) -> str:
        if self._session is None:
            state = "not entered"
        elif not self.finished:
            state = "open"
        else:
            state = f"{self.duration_s:.6g} s"
        return f"<picojoule.profile {self.name!r}: {state}>"

    def _repr_html_(self) -> str | None:
        return self.result._repr_html_() if self.finished else None

    # ---- output ----

    def _create_output(self, path: str) -> str:
        from picojoule import _trace

        return _trace.create(path)

    def _remove_output(self) -> None:
        if self._output is not None:
            from picojoule import _trace

            _trace.remove_unused(self._output)

    def __del__(self) -> None:
        # Dropped without a look at the result: the trace asked for is written all the same.
        if getattr(self, "_output", None) is not None and self.finished and not self._saved:
            try:
                if self._session is not None and self._session.mine and not sys.is_finalizing():
                    self._session.wait(_CLOSING_S)
                    self._finish_output()
            except Exception as error:
                print(
                    f"picojoule: the trace {self._output} stays a journal: {error}", file=sys.stderr
                )


def _meta() -> list[str]:
    from picojoule._environment import describe

    return describe()


def _at_exit() -> None:
    """The interpreter ends: what is open ends with it, what was to be written is written."""
    pid = os.getpid()
    with _lock:
        left = [p for p in _open if p._pid == pid]
    _core.shutdown()
    for one in left:
        if one._output is None or one._saved or one._session is None:
            continue
        try:
            one._saved = True
            from picojoule import _trace

            _trace.finish(one._output, one._session.trace(), "")
        except Exception as error:
            print(
                f"picojoule: the trace {one._output} stays a journal, "
                f"which picojoule.load reads: {error}",
                file=sys.stderr,
            )


atexit.register(_at_exit)

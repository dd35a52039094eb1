"""Decorating: one wrapper for each kind of function that Python has.

Plain functions run in a native wrapper (``_core.Wrapped``). Coroutines, generators and
async generators cost so much themselves that a Python wrapper adds nothing to speak of.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

from picojoule._core import Wrapped

Opener = Callable[[], AbstractContextManager[Any]]


def _kind(function: Any) -> str:
    if isinstance(function, (staticmethod, classmethod)):
        return "descriptor"
    if inspect.isclass(function):
        raise TypeError(
            f"{function.__qualname__} is a class: decorate its __call__, __init__ or another method"
        )
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.iscoroutinefunction(function):
        return "coroutine"
    if inspect.isgeneratorfunction(function):
        return "generator"
    if not callable(function):
        raise TypeError(f"only functions can be decorated, not {type(function).__name__}")
    return "plain"


def region(opened: Any, function: Any) -> Any:
    """Run every call of ``function`` inside the region ``opened``."""
    kind = _kind(function)
    if kind == "descriptor":
        return type(function)(region(opened, function.__func__))
    if kind == "plain":
        return functools.update_wrapper(Wrapped(function, opened), function)
    # One region object may be open many times at once; tasks each have a stack of their own.
    if kind == "generator":
        return _resumptions(function, lambda: opened)
    if kind == "async generator":
        return _async_resumptions(function, lambda: opened)
    return _coroutine(function, lambda: opened)


def profiled(make: Opener, function: Any) -> Any:
    """Run every call of ``function`` inside a context manager of its own, from ``make``."""
    kind = _kind(function)
    if kind == "descriptor":
        return type(function)(profiled(make, function.__func__))
    if kind == "coroutine":
        return _coroutine(function, make)
    if kind == "generator":

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with make():
                return (yield from function(*args, **kwargs))

        return generator
    if kind == "async generator":

        @functools.wraps(function)
        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            # `yield from` for async generators: sends, throws and closes reach the inner one.
            with make():
                inner = function(*args, **kwargs)
                resume: Callable[[], Any] = inner.__anext__
                try:
                    while True:
                        try:
                            value = await resume()
                        except StopAsyncIteration:
                            return
                        try:
                            sent = yield value
                        except BaseException as error:
                            resume = functools.partial(inner.athrow, error)
                        else:
                            resume = functools.partial(inner.asend, sent)
                finally:
                    await inner.aclose()

        return async_generator

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return plain


def _coroutine(function: Any, make: Opener) -> Any:
    @functools.wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with make():
            return await function(*args, **kwargs)

    return coroutine


def _resumptions(function: Any, make: Opener) -> Any:
    """Count the time inside the generator's body, not that of whoever consumes it."""

    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inner = function(*args, **kwargs)
        resume: Callable[[], Any] = functools.partial(next, inner)
        suspended = False
        try:
            while True:
                suspended = False
                try:
                    with make():
                        value = resume()
                except StopIteration as stop:
                    return stop.value
                suspended = True
                try:
                    sent = yield value
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume = functools.partial(inner.throw, error)
                else:
                    resume = functools.partial(inner.send, sent)
        finally:
            if suspended:  # closed early: what it cleans up is its own time
                with make():
                    inner.close()

    return generator


def _async_resumptions(function: Any, make: Opener) -> Any:
    @functools.wraps(function)
    async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inner = function(*args, **kwargs)
        resume: Callable[[], Any] = inner.__anext__
        suspended = False
        try:
            while True:
                suspended = False
                try:
                    with make():
                        value = await resume()
                except StopAsyncIteration:
                    return
                suspended = True
                try:
                    sent = yield value
                except GeneratorExit:
                    raise
                except BaseException as error:
                    resume = functools.partial(inner.athrow, error)
                else:
                    resume = functools.partial(inner.asend, sent)
        finally:
            if suspended:
                with make():
                    await inner.aclose()

    return async_generator

"""Calls side by side: order, how many at a time, errors, stopping early."""

import threading
import time

import pytest

from tfseg.parallel import cores, in_order


def call(function):
    return function()


@pytest.mark.parametrize("jobs", [1, 2, 5, 50])
def test_results_come_in_the_order_of_the_calls(jobs):
    def job(number: int):
        def work() -> int:
            time.sleep(0.002 * (number % 3 == 0))
            return number

        return work

    assert list(in_order(call, (job(number) for number in range(20)), jobs)) == list(range(20))
    assert list(in_order(call, (), jobs)) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_than_the_jobs_and_one_are_at_hand(jobs):
    lock = threading.Lock()
    alive = most = 0

    def count(change: int) -> None:
        nonlocal alive, most
        with lock:
            alive += change
            most = max(most, alive)

    def calls():
        for _ in range(12):
            count(+1)  # what the call holds exists from here
            yield lambda: time.sleep(0.001)

    for _ in in_order(call, calls(), jobs):
        count(-1)  # and is let go here
    assert most == jobs + 1


def test_calls_run_in_threads_and_the_iterable_in_the_callers():
    where = []

    def calls():
        for _ in range(4):
            where.append(threading.current_thread())
            yield threading.current_thread

    ran_in = list(in_order(call, calls(), 2))
    assert set(where) == {threading.main_thread()}
    assert threading.main_thread() not in ran_in


def test_an_error_is_raised_and_the_rest_dropped():
    ran = []

    def calls():
        for number in range(100):
            yield lambda number=number: ran.append(number) or 1 // (number - 2)

    with pytest.raises(ZeroDivisionError):
        list(in_order(call, calls(), 2))
    assert max(ran) <= 5


def test_closing_drops_what_has_not_started():
    ran = []
    results = in_order(call, (lambda n=n: ran.append(n) for n in range(100)), 2)
    next(results)
    results.close()
    assert max(ran) <= 3


def test_there_is_a_core():
    assert cores() >= 1

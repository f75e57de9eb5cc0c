"""Locks on folders: one holder, let go of by the system, nothing left behind."""

import fcntl
import subprocess
import sys
import threading

import pytest

from tfseg.locks import HeldError, locked

HOLDER = """
import sys, time
from pathlib import Path
from tfseg.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of ``tmp_path/run``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_leaves_nothing_behind(tmp_path):
    with locked(tmp_path / "a" / "run"):
        assert (tmp_path / "a" / "run" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_meanwhile_stays(tmp_path):
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_a_second_process_is_told_who_holds_it(tmp_path, other):
    with pytest.raises(HeldError, match=f"process {other.pid} on "), locked(tmp_path / "run"):
        pass


def test_a_killed_holder_holds_nothing(tmp_path, other):
    other.kill()
    other.wait()
    with locked(tmp_path / "run"):
        pass


def test_waiting_for_the_holder(tmp_path, other):
    told = threading.Event()
    done = threading.Event()

    def wait():
        with locked(tmp_path / "run", on_wait=lambda holder: told.set()):
            done.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert told.wait(10)
    assert not done.is_set()
    other.kill()
    waiter.join(10)
    assert done.is_set()


def test_many_threads_hold_it_one_after_another(tmp_path):
    """The file goes with each holder: who waited for a removed file must not hold beside others."""
    inside, most = [], []

    def work():
        for _ in range(20):
            with locked(tmp_path / "run", on_wait=lambda holder: None):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "run"):
        pass
    assert "has no locks" in caplog.text


def test_processes_that_take_it_in_turn_never_miss_it(tmp_path):
    """The file and the folder go with each holder, at any moment of another's look at them."""
    code = (
        "import sys; from pathlib import Path; from tfseg.locks import locked\n"
        "for _ in range(300):\n"
        "    with locked(Path(sys.argv[1]), on_wait=lambda holder: None): pass\n"
    )
    begun = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "a" / "run"]) for _ in range(4)
    ]
    assert [process.wait() for process in begun] == [0] * 4
    assert not list(tmp_path.rglob(".lock"))

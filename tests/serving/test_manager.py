"""Versions on disk come and go; the loader is a fake, so every state can be held still."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfseg_serving.manager import ModelManager
from tfseg_serving.status import Code, StatusError
from tfseg_serving.versions import ModelConfig, Timing, VersionPolicy, versions_below
from tfseg_serving.wire import Signature

LATEST = VersionPolicy()


class Loaded:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signatures: dict[str, Signature] = {}
        self.signature_defs: dict[str, bytes] = {}
        self.signature_json: dict = {}
        self.closed = False

    def predict(self, *_: object) -> dict:
        return {}

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Disk:
    """A base path, and a loader that fails for folders with a file ``broken``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.loads: list[int] = []
        self.loaded: dict[int, Loaded] = {}
        self.hold = threading.Event()
        self.hold.set()

    def add(self, version: str, broken: bool = False) -> None:
        aside = self.base.parent / f"aside-{version}"
        aside.mkdir()
        if broken:
            (aside / "broken").touch()
        aside.rename(self.base / version)

    def remove(self, version: str) -> None:
        shutil.rmtree(self.base / version)

    def load(self, folder: Path) -> Loaded:
        assert self.hold.wait(20)
        self.loads.append(int(folder.name))
        if (folder / "broken").exists():
            raise StatusError(Code.DATA_LOSS, "it is broken")
        self.loaded[int(folder.name)] = Loaded(folder)
        return self.loaded[int(folder.name)]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    base = tmp_path / "m"
    base.mkdir()
    return Disk(base)


@pytest.fixture
def start(disk: Disk) -> Iterator[Callable[..., ModelManager]]:
    managers: list[ModelManager] = []

    def start_manager(
        policy: VersionPolicy = LATEST, appear_s: float = 30, **labels: int
    ) -> ModelManager:
        timing = Timing(poll_s=0.02, retries=2, retry_s=0.05, appear_s=appear_s)
        config = ModelConfig("m", disk.base, policy, labels)
        managers.append(ModelManager([config], disk.load, timing))
        managers[-1].start()
        return managers[-1]

    yield start_manager
    for manager in managers:
        manager.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass within 10 s"
        time.sleep(0.01)


def states(manager: ModelManager) -> dict[int, str]:
    return {one.version: one.state for one in manager.status("m")}


def latest(manager: ModelManager) -> int:
    with manager.use("m") as (version, _):
        return version


def test_only_integer_folders_are_versions(tmp_path: Path) -> None:
    for name in ("1", "00000123", "v3", "4.tmp", "-5", "9223372036854775808", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").touch()
    assert sorted(versions_below(tmp_path) or {}) == [1, 123]
    assert versions_below(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (VersionPolicy(), [9]),
        (VersionPolicy("latest", 2), [9, 3]),
        (VersionPolicy("all"), [9, 3, 1]),
        (VersionPolicy("specific", versions=(1, 4, 3)), [3, 1]),
    ],
)
def test_policies(policy: VersionPolicy, expected: list[int]) -> None:
    assert policy.choose([3, 9, 1]) == expected


def test_a_new_version_replaces_the_old_one_without_a_gap(disk, start) -> None:
    disk.add("1")
    manager = start()
    assert latest(manager) == 1
    disk.hold.clear()
    disk.add("2")
    eventually(lambda: states(manager).get(2) == "LOADING")
    assert latest(manager) == 1
    disk.hold.set()
    eventually(lambda: latest(manager) == 2)
    eventually(lambda: states(manager) == {2: "AVAILABLE", 1: "END"})
    assert disk.loaded[1].closed
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 1\)"):
        manager.use("m", 1).__enter__()


def test_a_request_under_way_keeps_its_version(disk, start) -> None:
    disk.add("1")
    manager = start()
    with manager.use("m") as (version, servable):
        disk.add("2")
        eventually(lambda: latest(manager) == 2)
        eventually(lambda: states(manager)[1] == "UNLOADING")
        assert version == 1
        assert not servable.closed
    assert servable.closed
    assert states(manager) == {2: "AVAILABLE", 1: "END"}


def test_removing_the_newest_rolls_back(disk, start) -> None:
    disk.add("1")
    disk.add("2")
    manager = start()
    assert latest(manager) == 2
    disk.remove("2")
    eventually(lambda: latest(manager) == 1)
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})
    disk.add("2")
    eventually(lambda: latest(manager) == 2)


def test_a_broken_version_is_retried_and_then_given_up(disk, start) -> None:
    disk.add("1")
    manager = start()
    disk.add("2", broken=True)
    eventually(lambda: states(manager).get(2) == "END")
    assert disk.loads.count(2) == 3  # once, and two retries
    (failed, _) = manager.status("m")
    assert (failed.code, failed.message) == (Code.DATA_LOSS, "it is broken")
    assert latest(manager) == 1
    disk.add("3")
    eventually(lambda: latest(manager) == 3)


def test_a_base_path_that_vanishes_changes_nothing_but_an_empty_one_unloads(disk, start) -> None:
    disk.add("1")
    manager = start()
    disk.base.rename(disk.base.parent / "away")
    time.sleep(0.15)
    assert latest(manager) == 1
    (disk.base.parent / "away").rename(disk.base)
    disk.remove("1")
    eventually(lambda: states(manager) == {1: "END"})
    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(m\)"):
        manager.use("m").__enter__()


def test_unwanting_a_failing_version_ends_its_retries(disk, start) -> None:
    disk.add("1")
    manager = start()
    disk.add("2", broken=True)
    eventually(lambda: states(manager).get(2) in {"LOADING", "END"})
    disk.remove("2")
    eventually(lambda: states(manager) == {2: "END", 1: "AVAILABLE"})


def test_labels_choose_versions(disk, start) -> None:
    disk.add("1")
    disk.add("2")
    manager = start(VersionPolicy("all"), stable=1)
    with manager.use("m", label="stable") as (version, _):
        assert version == 1
    with pytest.raises(StatusError, match="Unrecognized servable version label: canary"):
        manager.use("m", label="canary").__enter__()


def test_start_refuses_what_cannot_be_served(disk, start) -> None:
    with pytest.raises(StatusError, match="no version to serve"):
        start()
    disk.add("1", broken=True)
    with pytest.raises(StatusError, match="version 1 cannot be loaded: it is broken"):
        start()
    disk.add("2")
    with pytest.raises(StatusError, match="assign label to version 1 of model m"):
        start(VersionPolicy(), stable=1)
    assert disk.loaded[2].closed


def test_unknown_names_and_versions(disk, start) -> None:
    disk.add("1")
    manager = start()
    with pytest.raises(StatusError, match="Could not find any versions of model z"):
        manager.status("z")
    with pytest.raises(StatusError, match="Could not find version 9 of model m"):
        manager.status("m", 9)
    with pytest.raises(StatusError, match="Unrecognized servable version label: x"):
        manager.use("m", label="x").__enter__()


def test_a_reload_waits_for_a_folder_that_is_missing_but_not_for_ever(disk, start) -> None:
    disk.add("1")
    manager = start(appear_s=0.2)
    absent = disk.base.parent / "absent"
    with pytest.raises(StatusError, match=r"1 model\(s\) did not become available: .*absent"):
        manager.reload([ModelConfig("new", absent)])
    eventually(lambda: states(manager) == {1: "END"})  # the configuration is in force
    (absent / "1").mkdir(parents=True)
    eventually(lambda: manager.available() == {"new": [1]})
    manager.reload([ModelConfig("m", disk.base)])
    assert latest(manager) == 1


def test_reloads_that_wait_hold_up_no_other(disk, start) -> None:
    disk.add("1")
    manager = start()
    refused: dict[int, Code] = {}
    models = [ModelConfig("m", disk.base)]

    def ask(number: int) -> None:
        with pytest.raises(StatusError) as error:
            manager.reload(list(models))
        refused[number] = error.value.code

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for number, one in enumerate(asking):
        models.append(ModelConfig(f"new {number}", disk.base.parent / "absent"))
        one.start()
        eventually(lambda last=models[-1].name: last in manager.available())
    eventually(lambda: len(refused) == 2)  # four may wait
    manager.reload(models[:1])  # drops what the others wait for
    assert latest(manager) == 1
    for one in asking:
        one.join(10)
    assert sorted(refused.values()) == [Code.UNKNOWN] * 4 + [Code.RESOURCE_EXHAUSTED] * 2


def test_a_client_that_leaves_ends_its_wait(disk, start) -> None:
    disk.add("1")
    manager = start()
    with pytest.raises(StatusError) as error:
        manager.reload([ModelConfig("new", disk.base.parent / "absent")], lambda: True)
    assert error.value.code is Code.CANCELLED

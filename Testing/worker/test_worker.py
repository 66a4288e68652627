"""The worker as a real process: round trip, noise, cancel, crashes, orphans, files."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from CardiacAILib import worker_process
from CardiacAILib.engines import model_folder, shipped_models
from CardiacAILib.errors import Cancelled, CardiacAIError, EngineError, InputError, OutputError
from CardiacAILib.images.volume import Volume
from CardiacAILib.worker_client import WorkerClient
from CardiacAILib.worker_process import remove_stale_folders

HERE = Path(__file__).parent
VOLUME = Volume(
    np.random.default_rng(0).integers(-5, 5, (3, 5, 4)).astype(np.int16),
    (1.5, 1.25, 8.0),
    (1.0, -2.0, 3.5),
    np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    (0.0, 0.03),
    False,
)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """Worker folders are made here, so that a test can see what is left of them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert folders(tmp_path) == []


def folders(place: Path) -> list[str]:
    return [path.name for path in place.glob("cardiacai-worker-*")]


@pytest.fixture
def client():
    client = WorkerClient(environment={"PYTHONPATH": str(HERE)}, jobs="worker_jobs:TestJob")
    yield client
    client.stop()


def until(client, wanted, seconds=20.0):
    """Polls until an event of the kind comes; all events so far."""
    events, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        events += client.poll()
        if any(event.kind == wanted for event in events):
            return events
        time.sleep(0.01)
    raise AssertionError(f"no {wanted} in {seconds} s: {events}")


def run(client, model) -> tuple[list, object]:
    """One job to its end: all events, the last of them."""
    number = client.segment(VOLUME, model=model)
    events, deadline = [], time.monotonic() + 20
    while time.monotonic() < deadline:
        events += client.poll()
        last = [event for event in events if event.job == number and event.kind in ("result", "error")]
        if last:
            assert len(last) == 1
            return events, last[0]
        time.sleep(0.01)
    raise AssertionError(f"the job did not end: {events}")


def ends(pid: int, seconds: float) -> bool:
    """Whether a process is gone within so many seconds; a zombie counts as gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        state = Path(f"/proc/{pid}/stat")
        if state.exists() and state.read_text().split(")")[-1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_round_trip(client):
    events, last = run(client, "plain")
    assert next(event.kind for event in events) == "hello"
    result = last.result
    np.testing.assert_array_equal(result.labels.array, VOLUME.array > 0)
    assert result.labels.array.dtype == np.uint8
    assert result.labels.spacing == VOLUME.spacing
    assert result.measurements[0].value == 101.5
    assert result.flags[0].severity == "warning"
    geometry = result.provenance["command"]["geometry"]
    assert geometry["origin"] == [1.0, -2.0, 3.5]
    assert geometry["direction"] == VOLUME.direction.tolist()
    assert geometry["frame_times"] == [0.0, 0.03]
    assert geometry["oriented"] is False
    assert not client.busy


def test_geometry_survives_json():
    import json

    from CardiacAILib.worker import geometry_of, volume_of

    back = volume_of(VOLUME.array, json.loads(json.dumps(geometry_of(VOLUME))))
    np.testing.assert_array_equal(back.direction, VOLUME.direction)
    assert (back.spacing, back.origin, back.frame_times, back.oriented) == (
        VOLUME.spacing, VOLUME.origin, VOLUME.frame_times, VOLUME.oriented,
    )  # fmt: skip


def test_one_process_serves_frame_after_frame_and_keeps_no_files(client, temporary_folder):
    first, second = run(client, "plain")[1], run(client, "plain")[1]
    assert second.result.provenance["pid"] == first.result.provenance["pid"]
    assert second.result.provenance["calls"] == 2
    (folder,) = temporary_folder.glob("cardiacai-worker-*")
    assert list(folder.iterdir()) == []
    if os.name != "nt":
        assert folder.stat().st_mode & 0o077 == 0


def test_jobs_may_queue(client):
    numbers = [client.segment(VOLUME, model="plain") for _ in range(3)]
    ended = []
    while client.busy:
        ended += [event.job for event in client.poll() if event.kind == "result"]
        time.sleep(0.01)
    assert ended == numbers


def test_printing_does_not_corrupt_the_protocol(client):
    events, last = run(client, "noise")
    assert last.kind == "result"
    assert "grüße ♥" in [event.text for event in events]


def test_an_expected_failure_keeps_its_class_and_message(client):
    _, last = run(client, "bad_input")
    assert type(last.error) is InputError
    assert str(last.error) == "Nothing but zeros."
    assert run(client, "plain")[1].kind == "result"


def test_a_bug_is_reported_with_its_traceback_and_is_not_the_end(client):
    _, last = run(client, "bug")
    assert isinstance(last.error, CardiacAIError)
    assert "KeyError" in str(last.error)
    assert "_bug" in last.details
    assert run(client, "plain")[1].kind == "result"


def test_cancel_between_slices_keeps_the_process(client):
    client.segment(VOLUME, model="slices")
    until(client, "progress")
    pid = client.pid
    client.cancel()
    events = client.poll()
    assert isinstance(next(event for event in events if event.kind == "error").error, Cancelled)
    assert not client.busy
    time.sleep(worker_process.CANCEL_SECONDS + 0.5)  # past the deadline: it had stopped by itself, so it lives
    assert run(client, "plain")[1].kind == "result"
    assert client.pid == pid


def test_cancel_while_a_job_blocks_kills_it_within_two_seconds(client, temporary_folder):
    client.segment(VOLUME, model="blocks")
    until(client, "progress")
    pid, start = client.pid, time.monotonic()
    client.cancel()
    assert [event.kind for event in client.poll()][-1] == "error"
    assert time.monotonic() - start < 0.1
    assert ends(pid, worker_process.CANCEL_SECONDS + 1)
    assert run(client, "plain")[1].kind == "result"


def test_a_new_job_right_after_cancel_is_not_killed_with_the_old_one(client):
    client.segment(VOLUME, model="blocks")
    until(client, "progress")
    client.cancel()
    _, last = run(client, "plain")
    assert last.kind == "result"
    time.sleep(worker_process.CANCEL_SECONDS + 0.3)
    assert run(client, "plain")[1].result.provenance["pid"] == last.result.provenance["pid"]


def test_cancel_without_a_job_does_nothing(client):
    client.cancel()
    run(client, "plain")
    client.cancel()
    assert client.poll() == []


@pytest.mark.parametrize(("how", "says"), [("dies", "signal 9.*memory.*the last straw"), ("exits", "exit code 3")])
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_crash_is_an_error_and_leaves_nothing(client, temporary_folder, how, says):
    _, last = run(client, how)
    assert isinstance(last.error, EngineError)
    import re

    assert re.search(says, str(last.error))
    assert folders(temporary_folder) == []
    assert run(client, "plain")[1].kind == "result"  # the next job gets a new process


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_from_outside_in_the_middle_of_a_job(client, temporary_folder):
    number = client.segment(VOLUME, model="blocks")
    until(client, "progress")
    os.kill(client.pid, signal.SIGKILL)
    error = next(event for event in until(client, "error") if event.kind == "error")
    assert error.job == number
    assert isinstance(error.error, EngineError)
    assert folders(temporary_folder) == []


@pytest.mark.skipif(os.name == "nt", reason="/proc")
@pytest.mark.parametrize("how", ["stop", "cancel", "kill"])
def test_children_of_a_job_do_not_outlive_it(client, how):
    client.segment(VOLUME, model="child")
    deadline, child = time.monotonic() + 10, None
    while child is None and time.monotonic() < deadline:
        child = next((int(event.text) for event in client.poll() if event.text.isdigit()), None)
        time.sleep(0.01)
    if how == "kill":
        os.kill(client.pid, signal.SIGKILL)
    else:
        getattr(client, how)()
    assert ends(child, worker_process.CANCEL_SECONDS + 2)


def test_stop_ends_the_process_and_removes_the_folder(client, temporary_folder):
    client.segment(VOLUME, model="blocks")
    until(client, "progress")
    pid = client.pid
    client.stop()
    assert ends(pid, 1)
    assert folders(temporary_folder) == []
    assert isinstance(client.poll()[-1].error, Cancelled)
    assert run(client, "plain")[1].kind == "result"  # and it can be used again


@pytest.mark.parametrize("busy", [False, True])
def test_the_worker_ends_when_its_owner_is_gone(temporary_folder, busy):
    """The owner is killed: stdin closes, the worker removes the images and ends, in the middle of a job too."""
    code = f"""
import sys, tempfile, time
sys.path[:0] = {[str(HERE), *sys.path]!r}
tempfile.tempdir = {str(temporary_folder)!r}
from test_worker import VOLUME, WorkerClient, until
client = WorkerClient(environment={{"PYTHONPATH": {str(HERE)!r}}}, jobs="worker_jobs:TestJob")
client.start()
if {busy}:
    client.segment(VOLUME, model="blocks")
    until(client, "progress")
else:
    until(client, "hello")
print(client.pid, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    pid = int(owner.stdout.readline())
    assert folders(temporary_folder)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert ends(pid, 3)
    assert folders(temporary_folder) == []


def test_a_client_that_is_dropped_takes_its_process_along(temporary_folder):
    client = WorkerClient(environment={"PYTHONPATH": str(HERE)}, jobs="worker_jobs:TestJob")
    client.start()
    pid = client.pid
    del client
    assert ends(pid, 2)


def test_an_executable_that_is_not_there():
    with pytest.raises(EngineError, match="does not start"):
        WorkerClient("/nowhere/PythonSlicer").segment(VOLUME, model="plain")


def test_a_python_that_cannot_import_the_library():
    client = WorkerClient(jobs="no_such_module:Job")
    _, last = run(client, "plain")
    assert isinstance(last.error, EngineError)
    assert "no_such_module" in str(last.error)


def test_no_room_for_the_image(client, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        client.segment(VOLUME, model="plain")
    assert not client.busy


def test_a_result_that_cannot_be_read_is_an_error_of_its_job_alone(client, monkeypatch):
    def unreadable(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", unreadable)
        _, last = run(client, "plain")
    assert isinstance(last.error, OutputError)
    assert "Input/output error" in str(last.error)
    assert not client.busy
    assert run(client, "plain")[1].kind == "result"


def test_a_file_that_cannot_be_removed_costs_no_result(client, monkeypatch):
    def held(*_, **__):
        raise PermissionError(13, "The process cannot access the file")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", held)
        assert run(client, "plain")[1].kind == "result"


def test_a_folder_that_a_cleaner_removed_costs_its_jobs_and_no_more(client, temporary_folder):
    run(client, "plain")
    (folder,) = temporary_folder.glob("cardiacai-worker-*")
    shutil.rmtree(folder)
    assert run(client, "plain")[1].kind == "result"
    lost = client.segment(VOLUME, model="blocks")
    deadline = time.monotonic() + 20
    while not any(event.text == "blocking" for event in client.poll()):  # else it would fail reading its image
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (folder,) = temporary_folder.glob("cardiacai-worker-*")
    shutil.rmtree(folder)
    events, last = run(client, "plain")
    assert last.kind == "result"
    assert [type(event.error) for event in events if event.job == lost and event.kind == "error"] == [OutputError]


def test_a_process_that_died_unheard_keeps_its_last_words(client):
    lost = client.segment(VOLUME, model="exits")
    client._process._listener.join(10)
    events, last = run(client, "plain")
    assert last.kind == "result"
    (error,) = (event.error for event in events if event.job == lost and event.kind == "error")
    assert "exit code 3" in str(error)


def test_the_folder_of_a_process_without_work_stays_young(client, temporary_folder, monkeypatch):
    monkeypatch.setattr(worker_process, "_STALE_SECONDS", 0.24)
    client.start()
    (folder,) = temporary_folder.glob("cardiacai-worker-*")
    os.utime(folder, (0, 0))
    deadline = time.monotonic() + 5
    while folder.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    remove_stale_folders(seconds=3600)
    assert folder.exists()


def test_a_model_folder_is_named_so_that_the_process_finds_it(client, tmp_path, monkeypatch):
    """The process runs in another folder. A name that is no folder, or a shipped model's, is left to the library."""
    here = tmp_path / "here"
    (here / "mine").mkdir(parents=True)
    (here / "cine_short_axis").mkdir()
    monkeypatch.chdir(here)
    assert run(client, "mine")[1].result.provenance["command"]["model"] == str(here / "mine")
    assert run(client, "plain")[1].result.provenance["command"]["model"] == "plain"
    if not shipped_models():
        return
    shipped = model_folder("cine_short_axis")
    assert here not in shipped.parents
    assert run(client, shipped.name)[1].result.provenance["command"]["model"] == str(shipped)


def test_folders_of_dead_sessions_are_removed(temporary_folder):
    old, new = temporary_folder / "cardiacai-worker-old", temporary_folder / "cardiacai-worker-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "1.npy").write_bytes(b"patient")
    os.utime(old, (0, 0))
    remove_stale_folders()
    assert folders(temporary_folder) == ["cardiacai-worker-new"]
    remove_stale_folders(seconds=-1)


def test_importing_client_and_worker_imports_nothing_heavy():
    code = (
        "import sys, CardiacAILib.worker, CardiacAILib.worker_client; "
        "bad = {'slicer', 'vtk', 'qt', 'torch', 'openvino', 'SimpleITK', 'scipy', 'PIL'} & set(sys.modules); "
        "assert not bad, bad"
    )
    library = HERE.parents[1] / "CardiacAI"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(library)})

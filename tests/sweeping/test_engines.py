"""The engines that a team may have, each started here: the same rows as by this machine alone, and lost workers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import archprof
from archprof.errors import ArchprofError

pytestmark = pytest.mark.slow

NETS = Path(__file__).with_name("failing_nets.py")
ROOT = Path(archprof.__file__).parents[1]
OF_THE_RUN = ["engine", "worker", "took_seconds", "note", "tries"]
"""Columns that may differ from run to run."""

needs = {
    name: pytest.mark.skipif(find_spec(package) is None, reason=f"needs {package}: pip install 'archprof[{extra}]'")
    for name, package, extra in (
        ("dask", "distributed", "dask"),
        ("ray", "ray", "ray"),
        ("submitit", "submitit", "slurm"),
    )
}
ENGINES = [pytest.param(name, marks=mark) for name, mark in needs.items()]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def started(*words: str, root: Path = ROOT) -> Iterator[None]:
    """A program of the cluster, which imports archprof from `root`."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def dask_cluster(folder: Path, *roots: Path) -> Iterator[str]:
    """A scheduler and a worker for each root."""
    from distributed import Client

    url = f"tcp://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        port = url.rpartition(":")[2]
        dask = ("-m", "dask")
        stack.enter_context(started(*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"))
        for root in roots:
            place = str(folder / "dask")
            worker = (*dask, "worker", url, "--nthreads", "1", "--no-dashboard", "--local-directory", place)
            stack.enter_context(started(*worker, root=root))
        with Client(url, timeout=60, set_as_default=False) as client:
            if roots:
                client.wait_for_workers(len(roots), timeout=120)
        yield url.replace("tcp", "dask")


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield "ray"
    finally:
        ray.shutdown()


@contextmanager
def cluster(name: str, folder: Path) -> Iterator[str]:
    """The word for an engine with two workers."""
    if name == "dask":
        with dask_cluster(folder, ROOT, ROOT) as url:
            yield url
    elif name == "ray":
        with ray_cluster(folder) as url:
            yield url
    else:
        yield name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(NETS, "nets.py")
    return tmp_path


def ask(engine: Any, path: str, **more: Any) -> Any:
    models = ["lenet5", "torchvision:squeezenet1_?", "timm:test_vit*"]
    return archprof.sweep(models, batch="1,8", device="t4", engine=engine, path=path, jobs=2, **more)


@pytest.mark.parametrize("name", ENGINES)
def test_the_rows_are_those_of_this_machine(name: str, folder: Path) -> None:
    here = ask("local", "here.csv")
    with cluster(name, folder) as engine:
        there = ask(engine, "there.csv")
    assert set(there["engine"]) == {name}
    assert len(here) > 10
    assert there.drop(columns=OF_THE_RUN).to_dict("records") == here.drop(columns=OF_THE_RUN).to_dict("records")
    assert archprof.facts.swept_files.read_swept("there.csv")[0].key == here["key"][0]
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".archprof")) == []


@pytest.mark.parametrize("name", ENGINES)
def test_a_lost_worker_is_replaced_and_its_cell_done_again(name: str, folder: Path) -> None:
    models = ["nets.py:worker_killed_once", "nets.py:fine", "nets.py:killed_once", "nets.py:leaves"]
    with cluster(name, folder) as engine:
        frame = archprof.sweep(models, "3", engine=engine, jobs=2, limit=120).set_index("model")
    assert frame["status"].tolist() == ["ok", "ok", "ok", "error"]
    assert frame.loc["nets.py:leaves"]["why"] == "Its process was lost 2 times: exit code 3."
    for net in ("worker_killed_once", "killed_once"):
        assert frame.loc[f"nets.py:{net}"]["tries"] == 2
        assert "and it was done again." in frame.loc[f"nets.py:{net}"]["note"]
    assert frame.loc["nets.py:fine"]["macs"] == 12


@needs["dask"]
def test_a_worker_of_another_version_is_refused_before_any_work(folder: Path) -> None:
    other = folder / "other"
    shutil.copytree(ROOT / "archprof", other / "archprof", ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "archprof" / "version.py"
    version.write_text(version.read_text().replace(archprof.__version__, "0.0.9"))
    with dask_cluster(folder, ROOT, other) as url:
        said = rf"has archprof 0\.0\.9, and this is {archprof.__version__}"
        with pytest.raises(ArchprofError, match=said):
            archprof.sweep("nets.py:killed_once", "3", engine=url, path="runs.csv")
    assert not Path("nets.cell").exists()
    assert not Path("runs.csv").exists()


@needs["dask"]
def test_a_scheduler_without_workers_is_said(folder: Path) -> None:
    with dask_cluster(folder) as url, pytest.raises(ArchprofError, match="has no workers"):
        archprof.sweep("lenet5", engine=url)


@needs["dask"]
def test_a_scheduler_that_goes_away_keeps_what_is_done(folder: Path) -> None:
    words = ["nets.py:fine", *[f"nets.py:slow(seconds={i})" for i in range(600, 610)]]
    with ExitStack() as stack:
        url = stack.enter_context(dask_cluster(folder, ROOT))

        def stop(done: float, left: float) -> None:
            stack.close()

        with pytest.raises(ArchprofError, match="went away"):
            archprof.sweep(words, "3", engine=url, path="runs.csv", progress=stop)
    assert [row.model for row in archprof.facts.swept_files.read_swept("runs.csv")] == ["nets.py:fine"]


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_any_executor_is_an_engine(kind: Callable[..., Any], folder: Path) -> None:
    with kind(2) as pool:
        frame = archprof.sweep(["nets.py:fine", "nets.py:killed_once"], "3", engine=pool)
    assert frame["status"].tolist() == ["ok", "ok"]
    assert set(frame["engine"]) == {kind.__name__}


def test_no_process_is_left(folder: Path) -> None:
    archprof.sweep("nets.py:fine", "3", jobs=1)
    mine = subprocess.run(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    assert "cell_process" not in mine.stdout
    process = subprocess.Popen(
        [sys.executable, "-m", "archprof", "sweep", "nets.py:slow", "--input", "3"], start_new_session=True
    )
    children, end = "", time.monotonic() + 60
    while "cell_process" not in children and time.monotonic() < end:
        time.sleep(0.2)
        found = subprocess.run(
            ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
        )
        children = found.stdout
    pid = next(line for line in children.splitlines() if "cell_process" in line).split()[0]
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, "it outlives whoever asked"
        time.sleep(0.1)

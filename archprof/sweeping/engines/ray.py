"""Ray: the cluster of `ray://head:10001`, the one that this machine belongs to, or one for the sweep alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from archprof.errors import ArchprofError
from archprof.sweeping.engine import START_SECONDS, Engine, explain_missing
from archprof.sweeping.supervisor import describe_worker


def open_ray(address: tuple[str, int] | None, jobs: int | None, *, measure: str = "") -> Engine:
    """Each cell is a task that takes one of the cluster's CPUs, and one of its GPUs where it is timed on that."""
    try:
        import ray
    except ImportError as error:
        raise explain_missing("ray", "ray", error) from error
    was_there = ray.is_initialized()
    url = f"ray://{address[0]}:{address[1]}" if address else None
    if not was_there:
        _connect(ray, url, jobs)

    def close(at_once: bool) -> None:
        if not was_there:
            ray.shutdown()

    kind = "GPU" if measure == "cuda" else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if not there:
        close(True)
        raise ArchprofError(f"The engine {url or 'ray'} has no {kind}.", "Nothing was run.")

    return Engine(
        "ray", RayTasks(ray, gpus=int(kind == "GPU")), min(jobs or there, there), describe=lambda _: _describe_all(ray),
        is_alive=lambda: _is_alive(ray), close=close,
    )  # fmt: skip


def _connect(ray: Any, url: str | None, jobs: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if url is not None:
            ray.init(url, **quiet)
            return
        try:
            ray.init("auto", **quiet)  # the cluster of this machine, or that RAY_ADDRESS names
        except ConnectionError:
            ray.init(num_cpus=jobs, include_dashboard=False, **quiet)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".")
        raise ArchprofError(f"The engine {url or 'ray'} cannot be reached: {why}.", "Nothing was run.") from error


def _describe_all(ray: Any) -> list[dict[str, Any]]:
    """A worker of every machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    call = ray.remote(max_retries=0)(describe_worker)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = [call.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)) for node in nodes]
    return list(ray.get([one.remote() for one in asked], timeout=START_SECONDS))


def _is_alive(ray: Any) -> bool:
    try:
        return bool(ray.is_initialized()) and any(node["Alive"] for node in ray.nodes())
    except Exception:  # of the network, in many classes
        return False


class RayTasks:
    """Submits as an executor does; a task whose worker is lost raises, and is not begun again by Ray."""

    def __init__(self, ray: Any, gpus: int) -> None:
        self._remote = ray.remote(max_retries=0, num_gpus=gpus)(_run)

    def submit(self, call: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = self._remote.remote(call, *args).future()
        return future


def _run(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)

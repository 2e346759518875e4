"""Which processes a run has and where they meet: as flags say, or a cluster that JAX knows."""

import contextlib
import importlib.util
import os
import re
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from avvp_jax.errors import UserError, cause, one_line, warn

ALONE = "--num_processes=1 runs this process alone"
# How long a process waits for the others to be started.
JOINING_SECONDS = 300
_OF_SLICES = ("MEGASCALE_COORDINATOR_ADDRESS", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID")
_OF_JAX = ("JAX_COORDINATOR_ADDRESS", "JAX_COORDINATOR_PORT")
# JAX's name for a kind of cluster -> its name, and variables from which JAX takes what it knows.
_CLUSTERS = {
    "SlurmCluster": (
        "Slurm",
        *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID"),
    ),
    "OmpiCluster": (
        "Open MPI",
        *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
        "OMPI_MCA_orte_hnp_uri",
    ),
    "GkeTpuCluster": (
        "TPU",
        *("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID"),
        *_OF_SLICES,
    ),
    "GceTpuCluster": ("TPU", *_OF_SLICES),
    "K8sCluster": ("Kubernetes", "JOB_COMPLETION_INDEX"),
}


@dataclass(frozen=True)
class Meeting:
    """Where the processes of a run meet.

    Attributes:
      address: HOST:PORT of process 0.
      number: how many processes there are, more than one.
      index: of this process.
      devices: which devices of its host this process takes; None are all.
      source: what says so, for messages.
      way_out: what to do if they do not meet.
    """

    address: str
    number: int
    index: int
    devices: list[int] | None
    source: str
    way_out: str

    def __post_init__(self):
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"{self.source}: {self.address!r} is no HOST:PORT; {self.way_out}")
        if not 0 <= self.index < self.number:
            raise UserError(
                f"{self.source}: there is no process {self.index} of {self.number}; {self.way_out}"
            )

    def refuse_unusable(self) -> None:
        """Checks, in process 0, that its address can be used; JAX would end without a message.

        Raises:
          UserError: its host is unknown, or the port is taken.
        """
        host, _, port = self.address.rpartition(":")
        try:
            socket.getaddrinfo(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise UserError(
                f"{self.source}: process 0 is at {self.address}, but {host} cannot be found "
                f"({cause(error)}); {self.way_out}"
            ) from None
        with socket.socket() as here:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                here.bind(("", int(port)))
            except OSError as error:
                raise UserError(
                    f"{self.source}: port {port} cannot be used here ({error.strerror}); choose "
                    f"another, the same in every process, by {self._how_to_choose()}"
                ) from None

    def _how_to_choose(self) -> str:
        return "--coordinator" if "--" in self.source else "the variable JAX_COORDINATOR_PORT"


def meeting(coordinator: str | None, number: int | None, index: int | None) -> Meeting | None:
    """Where the processes of this run meet; None if it is a run of one process.

    Args:
      coordinator, number, index: the flags, None where they are not given.

    Raises:
      UserError: the flags do not go together, or what a cluster says is unusable.
    """
    _check(coordinator, number, index)
    if number == 1:
        return None
    if coordinator:
        source = f"--coordinator={coordinator}"
        way_out = (
            "start all of them with the same --coordinator=HOST:PORT, the first one on that host"
        )
        return Meeting(coordinator, number, index, None, source, f"{way_out}; {ALONE}")
    return _of_cluster()


def _check(coordinator: str | None, number: int | None, index: int | None) -> None:
    """Checks that the three flags go together."""
    given = [value is not None for value in (coordinator, number, index)]
    if number is not None and number < 1:
        raise UserError(f"--num_processes={number} must be greater than 0")
    if not any(given) or (number == 1 and not coordinator and not index):
        return
    if not all(given):
        raise UserError(
            "--coordinator=HOST:PORT, --num_processes=N and --process_id=0..N-1 go together; in a "
            f"cluster that JAX knows leave out all three; {ALONE}"
        )
    port = re.fullmatch(r"[^\s:]+:(\d{1,5})|\[[0-9a-fA-F:]+\]:(\d{1,5})", coordinator)
    if not port or not 0 < int(port[1] or port[2]) < 2**16:
        raise UserError(f"--coordinator={coordinator}: must be HOST:PORT of the first process")
    if not 0 <= index < number:
        raise UserError(f"--process_id={index} must be 0 to {number - 1}, as --num_processes says")


def _of_cluster() -> Meeting | None:
    """Where a cluster says that processes meet."""
    from jax._src.clusters import ClusterEnv  # here, because JAX is slow to import

    address, source = os.environ.get("JAX_COORDINATOR_ADDRESS"), "JAX"
    with _indexed_pods_only(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for kind in ClusterEnv._cluster_types:
                source = _source(kind.__name__)
                if not kind.opt_in_only_method and kind.is_env_present():
                    break
            else:
                if address is None:
                    _say_if_pods_are_alone()
                    return None
                source = _source("JAX")
            address, number, index, devices = ClusterEnv.auto_detect_unset_distributed_params(
                coordinator_address=address,
                num_processes=None,
                process_id=None,
                local_device_ids=None,
                cluster_detection_method=None,
                initialization_timeout=JOINING_SECONDS,
            )
            if number is None or index is None:
                raise ValueError("how many processes there are is not said")
        except Exception as error:  # each kind of cluster has exceptions of its own
            reason = f"{cause(error)} is not set" if isinstance(error, KeyError) else cause(error)
            raise UserError(
                f"{source}: these do not say where the processes of this run are ({reason}); "
                f"give --coordinator, --num_processes and --process_id; {ALONE}"
            ) from error
    if number == 1:
        return None
    if os.environ.get("JAX_LOCAL_DEVICE_IDS"):
        devices = None  # JAX reads them
    way_out = f"start all of them, with srun, mpirun or what else starts them there; {ALONE}"
    return Meeting(address, number, index, devices, source, way_out)


def _say_if_pods_are_alone() -> None:
    """Says so where pods of an indexed job cannot find one another."""
    in_job = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= os.environ.keys()
    if in_job and importlib.util.find_spec("kubernetes") is None:
        warn(
            f"{_source('K8sCluster')}: this pod runs alone; pip install kubernetes if the pods of "
            "this job are to share a run"
        )


def _source(cluster: str) -> str:
    """What JAX takes a cluster's processes from, for messages.

    Args:
      cluster: JAX's name for its kind.
    """
    name, *variables = _CLUSTERS.get(cluster, (cluster,))
    known = [f"{x}={os.environ[x]}" for x in (*variables, *_OF_JAX) if x in os.environ]
    return one_line(f"{name} ({', '.join(known) or 'its metadata'})")


@contextlib.contextmanager
def _indexed_pods_only() -> Iterator[None]:
    """Hides Kubernetes from JAX outside an indexed job: JAX takes every pod for part of one."""
    name = "KUBERNETES_SERVICE_HOST"
    hidden = None if "JOB_COMPLETION_INDEX" in os.environ else os.environ.pop(name, None)
    try:
        yield
    finally:
        if hidden is not None:
            os.environ[name] = hidden


def alone_on_host() -> bool:
    """Whether a cluster has started only one process on this host; it then uses all devices."""
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    tasks = tasks or os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "")
    return re.fullmatch(r"1(\(x\d+\))?", tasks) is not None

"""Where the processes of a run meet, and what is said where they do not."""

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from jax._src.clusters import cloud_tpu_cluster

from avvp_jax.errors import UserError
from avvp_jax.runtime import clusters
from avvp_jax.runtime.clusters import Meeting, alone_on_host, meeting
from tests.launching import launch
from tests.programs import PATIENCE, free_port

SLURM = {"SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "4"}
SLURM |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
MPI = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.0.0.1:34911"}
MPI |= {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
TPU = {"TPU_WORKER_HOSTNAMES": "localhost,b", "TPU_WORKER_ID": "1"}
TPU |= {"MEGASCALE_COORDINATOR_ADDRESS": "localhost"}  # JAX would ask the network for it
TPU |= {"MEGASCALE_NUM_SLICES": "1", "MEGASCALE_SLICE_ID": "0"}
PODS = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


@pytest.fixture
def within(monkeypatch):
    """Puts this process into the environment of a cluster."""

    def put(environment: dict[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        on_tpu = "TPU_WORKER_ID" in environment
        monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", on_tpu)
        # Of Kubernetes' package, as it is outside a cluster.
        config = SimpleNamespace(load_incluster_config=lambda: 1 / 0)
        monkeypatch.setitem(sys.modules, "kubernetes", SimpleNamespace(config=config))

    return put


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (SLURM, ("localhost:61517", 4, 0, [0])),
        (SLURM | {"SLURM_STEP_NODELIST": "node[07-09],x"}, ("node07:61517", 4, 0, [0])),
        (SLURM | {"JAX_COORDINATOR_PORT": "1234"}, ("localhost:1234", 4, 0, [0])),
        (SLURM | {"JAX_LOCAL_DEVICE_IDS": "2,3"}, ("localhost:61517", 4, 0, None)),
        (MPI, ("127.0.0.1:62624", 2, 1, [1])),
        (TPU, ("localhost:", 2, 1, None)),  # the port depends on the version of JAX
    ],
)
def test_a_cluster_says_where_its_processes_meet(environment, expected, within):
    within(environment)
    found = meeting(None, None, None)
    assert found.address.startswith(expected[0])
    assert (found.number, found.index, found.devices) == expected[1:]
    said = [f"{name}={value}" for name, value in environment.items() if "DEVICE" not in name]
    assert all(word in found.source for word in said)


@pytest.mark.parametrize(
    "environment",
    [{}, SLURM | {"SLURM_NTASKS": "1"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}],
)
def test_a_process_without_others_meets_nobody(environment, within):
    within(environment)
    assert meeting(None, None, None) is None


@pytest.mark.parametrize("environment", [SLURM, MPI, PODS, SLURM | {"SLURM_NTASKS": "four"}])
def test_one_process_runs_alone_where_it_is_asked_to(environment, within):
    within(environment)
    assert meeting(None, 1, None) is None
    assert meeting(None, 1, 0) is None


UNUSABLE = {
    "no number": (SLURM | {"SLURM_NTASKS": "four"}, "SLURM_NTASKS=four.*'four'"),
    "no process": (SLURM | {"SLURM_NTASKS": "0"}, "no process 0 of 0"),
    "an index too far": (SLURM | {"SLURM_PROCID": "9"}, "no process 9 of 4"),
    "a negative index": (SLURM | {"SLURM_PROCID": "-1"}, "no process -1 of 4"),
    "no place": (SLURM | {"SLURM_LOCALID": ""}, "SLURM_LOCALID="),
    "no job": (SLURM | {"SLURM_JOB_ID": "7[1]"}, "SLURM_JOB_ID=7"),
    "no host": (SLURM | {"SLURM_STEP_NODELIST": ""}, "is no HOST:PORT"),
    "a port beyond": (SLURM | {"JAX_COORDINATOR_PORT": "99999"}, "'localhost:99999' is no HOST"),
    "an address alone": ({"JAX_COORDINATOR_ADDRESS": "host:80"}, "JAX_COORDINATOR_ADDRESS=host:80"),
    "no address": (MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;usock"}, "Could not parse"),
    "no rank": (MPI | {"OMPI_COMM_WORLD_RANK": "one"}, "OMPI_COMM_WORLD_RANK=one"),
    "no worker": (TPU | {"TPU_WORKER_ID": "one"}, "TPU_WORKER_ID=one"),
    "no such worker": (TPU | {"TPU_WORKER_ID": "7"}, "no process 7 of 2"),
    "no pods": (PODS, "Kubernetes .*JOB_COMPLETION_INDEX=0.*division by zero"),
}


def test_a_pod_that_cannot_find_the_others_says_that_it_is_alone(within, monkeypatch, capsys):
    within(PODS)
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert meeting(None, None, None) is None
    assert "this pod runs alone; pip install kubernetes" in capsys.readouterr().err


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_a_cluster_says_in_vain_is_one_line_with_the_ways_out(case, within):
    environment, message = UNUSABLE[case]
    within(environment)
    with pytest.raises(UserError, match=message) as raised:
        meeting(None, None, None)
    assert clusters.ALONE in str(raised.value)


def test_a_missing_variable_is_named(within, monkeypatch):
    within(MPI)
    monkeypatch.delenv("OMPI_COMM_WORLD_SIZE")
    with pytest.raises(UserError, match="'OMPI_COMM_WORLD_SIZE' is not set"):
        meeting(None, None, None)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "-"])
def test_a_host_that_is_unknown_is_refused(host):
    with pytest.raises(UserError, match="cannot be found"):
        Meeting(f"{host}:1234", 2, 0, None, "Slurm", "start all").refuse_unusable()


def test_a_port_that_is_taken_is_refused_with_a_way_to_another():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        for source, way in (
            ("Slurm", "JAX_COORDINATOR_PORT"),
            ("--coordinator=x", "--coordinator"),
        ):
            with pytest.raises(UserError, match=f"port {port} cannot be used here.*by .*{way}"):
                Meeting(f"localhost:{port}", 2, 0, None, source, "start all").refuse_unusable()


JOINING = """
from avvp_jax.runtime import clusters, preemption, processes
from avvp_jax.runtime.endings import end
clusters.JOINING_SECONDS, processes.QUIET_SECONDS = 2, 0
preemption.watch()
try:
    processes.join(None, None, None)
except Exception as error:
    end(error, 2)
"""


def test_a_process_without_its_others_says_what_it_waits_for_and_ends(tmp_path, monkeypatch):
    """Process 0, which the others should come to, and another one, which finds nobody."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    port = str(free_port())  # Slurm's is made of the job's number
    cases = [SLURM | {"JAX_COORDINATOR_PORT": port}, MPI | {"JAX_COORDINATOR_PORT": "1"}]
    both = []
    for environment in cases:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        both.append(subprocess.Popen([sys.executable, "-c", JOINING], **pipes))
    for index, process in enumerate(both):
        out, error = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (2, ""), error
        waiting, ended = error.splitlines()
        number, name = (("4", "SLURM_NTASKS=4"), ("2", "OMPI_COMM_WORLD_SIZE=2"))[index]
        assert f"process {index}: waiting for all {number} processes" in waiting
        assert f"process {index}: the {number} processes of this run" in ended
        assert "do not find one another at" in ended
        for line in (waiting, ended):
            assert (
                name in line
                and clusters.ALONE in line
                and f":{cases[index]['JAX_COORDINATOR_PORT']}" in line
            )


def test_a_run_in_a_cluster_that_says_nonsense_ends_in_one_line(tmp_path):
    flags = ["--config=configs/han.py", f"--workdir={tmp_path}/W"]
    result = launch(*flags, extra=SLURM | {"SLURM_NTASKS": "four"})
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "launch.py: Slurm (SLURM_NTASKS=four" in result.stderr


MISTAKES = {
    "one of three": (("host:1", None, None), "go together"),
    "two of three": ((None, 2, 0), "go together"),
    "the number alone": ((None, 2, None), "go together"),
    "the second of one": ((None, 1, 1), "go together"),
    "no port": (("host", 2, 0), "--coordinator=host: must be HOST:PORT"),
    "no host": ((":80", 2, 0), "must be HOST:PORT"),
    "a port beyond": (("host:70000", 2, 0), "must be HOST:PORT"),
    "an address": (("http://host:80", 2, 0), "must be HOST:PORT"),
    "no process": (("host:80", 0, 0), "--num_processes=0"),
    "an index too far": (("host:80", 2, 2), "--process_id=2 must be 0 to 1"),
    "a negative index": (("host:80", 2, -1), "--process_id=-1 must be 0 to 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_flags_that_do_not_go_together(mistake):
    arguments, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message):
        meeting(*arguments)


@pytest.mark.parametrize(
    ("environment", "alone"),
    [
        ({}, False),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, True),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x16)"}, True),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, False),
        ({"SLURM_STEP_TASKS_PER_NODE": "2,1"}, False),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, True),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, False),
    ],
)
def test_a_task_alone_on_its_host_has_all_devices(environment, alone, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert alone_on_host() is alone

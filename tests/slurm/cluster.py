"""A throw-away SLURM of one node, from the distribution's packages: no systemd, no cgroups, no accounting database.

Everything it writes lies in one folder, it listens on the loopback interface only, and its daemons are child processes
that run in the foreground, so that `stop` ends exactly what `start` began. It works as root and as an ordinary user.
The node may claim more CPUs and memory than there are, and has one GPU that is a mere device file: a job gets
CUDA_VISIBLE_DEVICES, and no GPU.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
INSTALL = "apt-get install --no-install-recommends slurm-wlm munge"

_CONFIG = """\
ClusterName=cohortseg
SlurmctldHost={node}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
# Jobs that ended stay visible to squeue, as the profile's status command needs.
MinJobAge=3600
KillWait=2
AccountingStorageType=accounting_storage/none
# A job that exceeds its memory is killed; without cgroups, a sample of each second tells.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={node} Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes={node} Default=NO MaxTime=1-0 State=UP
"""
# A GPU without a device file makes the node invalid.
_GPU_CONFIG = "NodeName={node} Name=gpu File=/dev/null Flags=nvidia_gpu_env\n"


class ClusterError(Exception):
    """The cluster did not start, or does not answer; the message holds the ends of its logs."""


@dataclass
class Cluster:
    """One node of SLURM in `folder`, whose path is short (a socket lies there) and readable by all."""

    folder: Path
    cpus: int = 16
    memory_mb: int = 64_000
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start the daemons and wait until the node takes jobs."""
        self._write_files()
        try:
            self._start_munge()
            self.start_controller()
            self._launch("slurmd", "-D", "-c", "-f", str(self._config))
            self._wait_for_node()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Cancel all jobs, and end the daemons that were started; the folder is left."""
        if self.is_up("slurmctld") and self.is_up("slurmd"):
            self.cancel_all()
        for name in reversed(list(self._daemons)):
            self._end(name)

    def start_controller(self) -> None:
        """Start slurmctld; where it ran before, it goes on with the jobs that it knew."""
        self._launch("slurmctld", "-D", "-f", str(self._config))

    def stop_controller(self) -> None:
        """End slurmctld; jobs run on, and nobody can ask for them."""
        self._end("slurmctld")

    def is_up(self, daemon: str) -> bool:
        """Tell whether a daemon that was started still runs."""
        return daemon in self._daemons and self._daemons[daemon].poll() is None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which SLURM's commands, and Snakemake, find this cluster."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"SLURM_CONF": str(self._config), "PATH": path}

    def ask(self, *command: str) -> str:
        """Return what a command of SLURM prints; raise where it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr}\n{self._log_ends()}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return what scontrol says of each job that there was, the oldest first."""
        lines = self.ask("scontrol", "show", "jobs", "--oneliner").splitlines()
        records = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return sorted((each for each in records if "JobId" in each), key=lambda each: int(each["JobId"]))

    def cancel_all(self) -> None:
        """Cancel all jobs, and wait until none is left."""
        self.ask("scancel", "--user", _user())
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until no job is queued or runs."""
        deadline_s = time.monotonic() + 30
        while self.ask("squeue", "--noheader"):
            if time.monotonic() > deadline_s:
                raise ClusterError(f"jobs do not end: {self.ask('squeue')}\n{self._log_ends()}")
            time.sleep(0.2)

    @property
    def _config(self) -> Path:
        return self.folder / "slurm.conf"

    def _write_files(self) -> None:
        for name in ("state", "spool", "log", "bin"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        facts = {
            "node": socket.gethostname().split(".")[0],
            "user": _user(),
            "folder": self.folder,
            "cpus": self.cpus,
            "memory_mb": self.memory_mb,
        }
        controller_port, node_port = _free_ports(2)
        self._config.write_text(_CONFIG.format(controller_port=controller_port, node_port=node_port, **facts))
        (self.folder / "gres.conf").write_text(_GPU_CONFIG.format(**facts))
        # The plugin's job step starts srun without SLURM_CONF; an installed cluster has it in /etc/slurm.
        shim = self.folder / "bin" / "srun"
        shim.write_text(f'#!/bin/sh\nSLURM_CONF="{self._config}" exec "{find_program("srun")}" "$@"\n')
        shim.chmod(0o755)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        own = {"key-file": key} | {f"{name}-file": self.folder / f"munge.{name}" for name in ("pid", "seed", "log")}
        socket_file = self.folder / "munge.socket"
        options = [f"--{name}={path}" for name, path in own.items()]
        self._launch("munged", "--foreground", "--force", f"--socket={socket_file}", *options)
        self._wait(socket_file.exists, "munged has no socket")

    def _wait_for_node(self) -> None:
        def idle() -> bool:
            done = subprocess.run(
                ["sinfo", "--noheader", "--Node", "--format=%T"], env=self.environment, capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            return set(done.stdout.split()) == {"idle"}

        self._wait(idle, "the node does not become idle")

    def _wait(self, done: Callable[[], bool], otherwise: str, *, timeout_s: float = 60) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            dead = [name for name in self._daemons if not self.is_up(name)]
            if dead or time.monotonic() > deadline_s:
                raise ClusterError(f"{otherwise}; ended: {dead}\n{self._log_ends()}")
            time.sleep(0.1)

    def _launch(self, program: str, *arguments: str) -> None:
        with (self.folder / "log" / f"{program}.log").open("ab") as log:
            self._daemons[program] = subprocess.Popen(
                [find_program(program), *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        if daemon.poll() is None:
            daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _log_ends(self) -> str:
        logs = sorted((self.folder / "log").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)


def find_program(name: str) -> str:
    """Return the path of a program; the daemons lie in sbin, which an ordinary user's PATH may lack."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin") or ""


def missing_programs() -> list[str]:
    """Return the programs of SLURM and munge that are not installed."""
    return [name for name in PROGRAMS if not find_program(name)]


def _user() -> str:
    """Return the name of the user that the daemons run as; $USER may tell of another."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports

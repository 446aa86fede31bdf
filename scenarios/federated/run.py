"""Run the Flower app beside this file with ``flwr run``, without a network, and say whether it really ended well.

``flwr run`` answers 0 even where the run failed, so ``flwr list`` is asked as well. Flower's state, its SuperLink and
Ray's files have a temporary home; when this ends, they do. Nothing listens beyond loopback.

    python scenarios/federated/run.py                                       # 4 clients, 2 rounds: a minute
    python scenarios/federated/run.py --clients 8 --rounds 5
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from ddcore_federated.environment import ENVIRONMENT

from ddcore import plugin as dd

APP = Path(__file__).resolve().parent


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def run(options: argparse.Namespace, home: str) -> tuple[int, str]:
    """What ``flwr run`` answered, and what ``flwr list`` says."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": home,
        "FLWR_HOME": f"{home}/flwr",
        "RAY_TMPDIR": home,
        "OMP_NUM_THREADS": "1",
    }
    federation = f"num-supernodes={options.clients} client-resources-num-cpus=1 init-args-num-cpus={options.cores}"
    config = f"clients={options.clients} num-server-rounds={options.rounds}"
    words = [programs / "flwr", "run", ".", "--stream", "--federation-config", federation, "--run-config", config]
    status = subprocess.run(words, cwd=APP, env=environment, check=False).returncode
    asking = [programs / "flwr", "list", "--format", "json"]
    listed = subprocess.run(asking, cwd=APP, env=environment, capture_output=True, text=True, check=False)
    return status, listed.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    with dd.guarded_home("ddapp-") as home:
        status, listed = run(options, home)
    runs = json.loads(listed or "{}").get("runs", [])
    ended = [run["status"] for run in runs]
    print(f"flwr run answered {status}, flwr list says {', '.join(ended) or listed}")
    return 0 if status == 0 and ended == ["finished:completed"] else 1


if __name__ == "__main__":
    sys.exit(main())

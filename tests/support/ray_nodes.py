# SPDX-License-Identifier: MIT
"""A Ray cluster of several nodes on this host, and a small job on it.

As a program, ``-m tests.support.ray_nodes ADDRESS FASTA FOLDER ACTORS`` runs the ranks of ``tests.support.embed_rank``
on the cluster, as the command does with its own.
"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

from virnuc_profiler.embed.on_ray.actor_pool import ActorPool, PoolPlan
from virnuc_profiler.embed.on_ray.node_check import node_probe
from virnuc_profiler.embed.on_ray.ray_cluster import ray_cluster


@contextmanager
def ray_nodes(count=2, cpus=1):
    """Start nodes with some CPU cores each; yield the cluster, whose ``address`` is that of the first one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": cpus, "num_gpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=sizes)
    try:
        for _ in range(count - 1):
            cluster.add_node(**sizes)
        yield cluster
    finally:
        cluster.shutdown()


def main():
    address, fasta, folder, actors = sys.argv[1:]
    fasta, folder = Path(fasta).absolute(), Path(folder).absolute()
    with ray_cluster(address) as cluster, node_probe(folder, fasta) as probe:
        plan = PoolPlan(
            arguments=["-m", "tests.support.embed_rank", str(fasta), str(folder)],
            probe=probe,
            max_actors=int(actors),
            elastic=False,
            use_gpus=False,
            environment={name: value for name, value in os.environ.items() if name.startswith("VIRNUC_TEST")},
        )
        pool = ActorPool(
            cluster,
            plan,
            lambda index, line: print(f"[rank {index}] {line.text}", flush=True),
            lambda sentence: print(sentence, flush=True),
        )
        pool.run()
    sys.exit(not pool.succeeded)


if __name__ == "__main__":
    main()

"""The server: it trains the global network on the union of what comes, and tests it."""

from ddcore_federated import TrainOnUnion
from ddcore_federated.flower import Metered, SyntheticUnion, central, params_of
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

import ddcore
from ddapp import IPC, NETWORK, SHARDS

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    clients, rounds = int(context.run_config["clients"]), int(context.run_config["num-server-rounds"])
    data = SHARDS.data.load()
    training = ddcore.Protocol(steps=100, lr=(1e-3,), repeats=1)
    strategy = SyntheticUnion(data.card, NETWORK, IPC, TrainOnUnion(training), clients=clients)
    weights = strategy.initial()
    like = params_of(weights)
    preprocess = ddcore.Standardise().fitted(data.card).start(data.card, dict)
    score = central(strategy.network, ddcore.plugin.Preprocessed(data.test, preprocess), SHARDS.histogram(clients))
    meter = Metered(grid)

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        found = score(params_of(arrays, like))
        print(f"round {number}: accuracy {found['accuracy']:.1f}, {meter.up} bytes up, {meter.down} down", flush=True)
        return MetricRecord(found)

    strategy.start(meter, weights, num_rounds=rounds, evaluate_fn=evaluate)

"""The faults that are looked at one by one: their numbers, and those that one machine cannot show.

The first 35 numbers are those of the project's fault matrix; `record(row, …)` names them.
"""

FAULTS = {
    1: "a worker's child is killed while it computes",
    2: "a whole worker is killed",
    3: "memory runs out",
    4: "a run that kills every worker",
    5: "a process ends at each named point",
    6: "the broker is killed and starts empty",
    7: "the broker is flushed under load",
    8: "the broker is down when runs are queued",
    9: "the broker is frozen",
    10: "the broker is full",
    11: "a message comes several times",
    12: "a message is delivered again after its visibility timeout",
    13: "a worker is killed with a message in its hand",
    14: "Postgres is restarted at once, again and again",
    15: "the reply to a COMMIT is lost",
    16: "Postgres is frozen for two leases",
    17: "a worker is frozen for three leases",
    18: "a worker is frozen inside a transaction",
    19: "a worker is cut off from Postgres",
    20: "MLflow is down, frozen, or answers 500",
    21: "the disk of the artifacts is full",
    22: "the disk of Postgres is full",
    23: "a worker's clock is wrong by an hour",
    24: "a part lets no other thread run",
    25: "a worker is told to end",
    26: "people cancel runs at any time",
    27: "people click twice",
    28: "two dispatchers at once",
    29: "a migration under load",
    30: "thousands of runs, and nothing grows",
    31: "attacks by SQL",
    32: "hostile messages",
    33: "hostile model folders",
    34: "an artifact is changed in the store",
    35: "attacks by HTTP",
    37: "homes that others have planted",
    38: "data, templates and arguments without end",
    39: "plugins that misbehave",
    40: "texts that steer what shows them",
}
MUTATIONS = 36  # the row of rules that tests take out, to see that the checker finds it
LATER = {
    12: "the broker forgets a message as a worker takes it, so there is no such timeout",
    21: "needs a disk of its own",
    22: "needs a disk of its own",
} | dict.fromkeys((31, 32, 33, 34, 35, 37, 38, 39, 40), "measured by `make attacks`")

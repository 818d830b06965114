"""Images per second of each network on one core, forward and training, in fp32 and in bf16.

A training step is forward, loss, backward and AdamW on one batch in channels-last memory, as in a run;
forward is in evaluation mode. Precisions take turns, and the fastest of the rounds counts. Beside them stands
the precision that `auto` chooses: by a rule, since a measurement at the start of a training would give the
same seed other weights on a busy machine. Here the rule can be checked on a CPU.

    python benchmarks/bench_networks.py [--networks efficientnet_lite0:224 attention_cnn:96]
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from document import document_parser, machine, print_document

from base_models.config import MemberConfig
from base_models.members import new_network, training_format
from base_models.training.device import CPU, autocast_precision

NETWORKS = ("attention_cnn:96", "efficientnet_lite0:160", "efficientnet_lite0:224", "resnet18:160")
BATCH, ROUNDS = 16, 3
PRECISIONS = {"fp32": False, "bf16": True}


def measure(name: str, size: int) -> dict[str, Any]:
    """Return images per second of a network by kind of pass and precision, and what `auto` chooses."""
    member = MemberConfig(name, network=name, image_size=size)
    network = new_network(member, 2).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    images = torch.randint(0, 256, (BATCH, size, size), dtype=torch.uint8)
    labels = torch.arange(BATCH) % 2
    planes = training_format(member).planes(images)
    seconds = {kind: dict.fromkeys(PRECISIONS, math.inf) for kind in ("forward", "training")}
    for _ in range(ROUNDS + 1):  # the first one sets up, too
        for precision, is_bf16 in PRECISIONS.items():
            for kind, fastest in seconds.items():
                trains = kind == "training"
                network.train(trains)
                began = time.process_time()
                with torch.set_grad_enabled(trains), torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
                    logits = network(planes).float()
                if trains:
                    torch.autograd.backward(torch.nn.functional.cross_entropy(logits, labels))
                    optimizer.step()
                    optimizer.zero_grad()
                fastest[precision] = min(fastest[precision], time.process_time() - began)
    chosen = "bf16" if autocast_precision("auto", CPU.device, network) == "bf16-mixed" else "fp32"
    rates = {kind: {name: BATCH / time for name, time in of.items()} for kind, of in seconds.items()}
    return {"network": name, "size": size, **rates, "chosen": chosen}


def show(document: dict[str, Any]) -> None:
    """Print the rates as a table."""
    print(
        f"{'network':<24}{'pixels':>7}{'forward fp32':>14}{'bf16':>8}{'training fp32':>15}{'bf16':>8}  auto"
    )
    for row in document["networks"]:
        rates = [row[kind][precision] for kind in ("forward", "training") for precision in PRECISIONS]
        print(
            f"{row['network']:<24}{row['size']:>7}{rates[0]:>14.1f}{rates[1]:>8.1f}{rates[2]:>15.1f}"
            f"{rates[3]:>8.1f}  {row['chosen']}"
        )


def main() -> None:
    parser = document_parser(__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="each NAME:PIXELS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = [entry.rpartition(":")[::2] for entry in options.networks]
    document = {
        **machine(torch=torch.__version__),
        "batch": BATCH,
        "networks": [measure(name, int(size)) for name, size in pairs],
    }
    print_document(document, show, options.json)


if __name__ == "__main__":
    main()

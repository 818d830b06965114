import pytest
import torch

from base_models.training.optimization import WeightAverage


def test_the_average_follows_its_recursion_with_warm_up() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = WeightAverage(network, decay=0.3)
    expected = 1.0
    for step, value in enumerate((2.0, -1.0, 4.0, 0.5, 3.0), start=1):
        with torch.no_grad():
            network.weight.fill_(value)
            network.num_batches_tracked.add_(1)
        average.update(network, step)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert float(average.tensors["weight"]) == pytest.approx(expected, rel=1e-6)
    assert int(average.tensors["num_batches_tracked"]) == 5
    assert network.weight.tolist() == [3.0]


def test_an_average_goes_on_from_an_earlier_one() -> None:
    network = torch.nn.Linear(2, 2)
    first = WeightAverage(network, decay=0.9)
    first.update(network, 1)
    second = WeightAverage(torch.nn.Linear(2, 2), decay=0.9)
    second.restore(first.tensors)
    for name, tensor in first.tensors.items():
        assert torch.equal(second.tensors[name], tensor)
        assert second.tensors[name] is not tensor

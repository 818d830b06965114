import pytest
import torch
from torch import nn

from agents.stable_baselines3.extracted_actor import FirstStepLSTM


def test_it_gives_what_an_lstm_gives_without_a_memory():
    torch.manual_seed(0)
    lstms = [nn.LSTM(5, 4) for _ in range(3)]
    inputs = torch.randn(3, 7, 5)
    stack = FirstStepLSTM(3, 5, 4)
    for policy, lstm in enumerate(lstms):
        single = FirstStepLSTM(1, 5, 4)
        assert single.fits(lstm)
        single.take(lstm)
        expected, _ = lstm(inputs[policy][None])  # a sequence of one step
        torch.testing.assert_close(single(inputs[policy][None]), expected)
        with torch.no_grad():
            stack.weight[policy], stack.bias[policy] = single.weight[0], single.bias[0]
    together = torch.stack([lstm(inputs[policy][None])[0][0] for policy, lstm in enumerate(lstms)])
    torch.testing.assert_close(stack(inputs), together)


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_size": 3},
        {"input_size": 4},
        {"num_layers": 2},
        {"bidirectional": True},
        {"proj_size": 2},
        {"bias": False},
    ],
)
def test_another_kind_or_size_does_not_fit(options):
    assert not FirstStepLSTM(1, 5, 4).fits(nn.LSTM(**{"input_size": 5, "hidden_size": 4} | options))

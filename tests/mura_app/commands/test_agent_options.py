from pathlib import Path

import pytest

from mura_app.commands.agent_options import AgentOptions, parse_agent_options
from mura_app.pipeline import agent_settings


def test_options_are_read_by_agent_and_as_json():
    words = ["ppo.total_steps=2000,ppo.network=mlp", "ppo.kl=[0.0, 0.1]", "gate.tensorboard_dir=a,b=c"]
    assert parse_agent_options(words) == {
        "ppo": {"total_steps": 2000, "network": "mlp", "kl": [0.0, 0.1]},
        "gate": {"tensorboard_dir": "a,b=c"},
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"agent": ("ppo",)},
            "NAME.OPTION=VALUE, such as ppo.total_steps=200000, got 'ppo'",
        ),
        ({"agent": ("ppo.total_step=9",)}, "did you mean 'total_steps'?"),
        (
            {"agent": ("ppo.total_steps=many",)},
            "'total_steps' of the agent 'ppo' to be int, got 'many'",
        ),
        ({"agent": ("sac.total_steps=9",)}, "got some of 'sac'; add it to --agents"),
        ({"agents": ("statics",)}, "got 'statics'; did you mean 'static'?"),
    ],
)
def test_wrong_options_are_one_sentence(options, words):
    with pytest.raises(ValueError, match="expected") as error:
        agent_settings(AgentOptions(out=Path("run"), **options).chosen_agents(), 10, 1)
    assert words in str(error.value)


def test_options_belong_to_their_agents():
    options = AgentOptions(out=Path("run"), agents=("static", "ppo"), agent=("ppo.total_steps=64",))
    assert options.chosen_agents() == {"uniform": {}, "static": {}, "ppo": {"total_steps": 64}}


def test_a_variant_has_options_of_its_own_beside_those_of_its_agent():
    words = ("wide=ppo,wide.hidden_size=64", "ppo.total_steps=2000", "long-run=ppo")
    options = AgentOptions(out=Path("run"), agents=("ppo",), agent=words, features=("none",)).chosen_agents()
    assert options == {
        "uniform": {},
        "ppo": {"features": "none", "total_steps": 2000},
        "wide": {"features": "none", "agent": "ppo", "hidden_size": 64},
        "long-run": {"features": "none", "agent": "ppo"},
    }
    with pytest.raises(ValueError, match="'gate' is taken"):
        AgentOptions(out=Path("run"), agent=("gate=ppo",)).chosen_agents()

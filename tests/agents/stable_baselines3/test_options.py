import pytest

from agents import make_agent
from agents.stable_baselines3.adapter import added, merged
from tests.agents.policy.test_policy_agent import SMALL
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0, n_parts=3)
NAMED = ["ppo", "a2c", "trpo", "dqn", "sac", "td3", "tqc"]

FURTHER = {
    "ppo": '{"target_kl": 0.5, "normalize_advantage": false}',
    "a2c": '{"rms_prop_eps": 1e-6}',
    "trpo": '{"sub_sampling_factor": 2}',
    "dqn": '{"tau": 0.5}',
    "sac": '{"target_entropy": -1.0}',
    "td3": '{"target_policy_noise": 0.1}',
    "tqc": '{"target_update_interval": 2}',
}
"""An argument of each class that is no option of the agent."""


@pytest.mark.parametrize("name", NAMED)
def test_arguments_without_an_option_reach_the_class(name):
    small = SMALL[name] | {"kl_coefficients": (0.0,), "n_folds": 2}
    assert make_agent(name, **small, algorithm_options=FURTHER[name]).fit(TABLE).total_steps_ > 0
    with pytest.raises(ValueError, match=r"algorithm_options that it takes, got .* 'nonsense'"):
        make_agent(name, **small, algorithm_options='{"nonsense": 1}').fit(TABLE)
    with pytest.raises(ValueError, match="without 'learning_rate', got it; the agent sets it itself"):
        make_agent(name, **small, algorithm_options='{"learning_rate": 1}').fit(TABLE)
    with pytest.raises(ValueError, match="without 'device', got it; the agent has an option of its own"):
        make_agent(name, **small, algorithm_options='{"device": "cuda"}')


def test_nothing_is_set_twice():
    assert added({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="without 'a'"):
        added({"a": 1}, {"a": 1})


def test_nested_options_are_merged_entry_by_entry():
    ours = {"policy_kwargs": {"net_arch": {"pi": [], "vf": [64]}, "eps": 1}, "n_steps": 4}
    theirs = {"policy_kwargs": {"net_arch": {"vf": [8]}}, "n_steps": 2}
    assert merged(ours, theirs) == {
        "policy_kwargs": {"net_arch": {"pi": [], "vf": [8]}, "eps": 1},
        "n_steps": 2,
    }
    assert ours["policy_kwargs"]["net_arch"] == {"pi": [], "vf": [64]}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sac", {"n_critics": 0}),
        ("td3", {"policy_delay": 0}),
        ("tqc", {"n_quantiles": 2}),
        ("tqc", {"top_quantiles_to_drop": -1}),
        ("dqn", {"exploration_fraction": 2.0}),
        ("dqn", {"exploration_final_eps": -0.1}),
    ],
)
def test_options_out_of_range_are_refused(name, options):
    with pytest.raises(ValueError, match=r"expected \w+ in the range|of less than n_quantiles, 2, got 2"):
        make_agent(name, **options)

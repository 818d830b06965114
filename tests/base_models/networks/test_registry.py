import pytest

from base_models import create_model, list_models


def test_networks_are_listed_and_unknown_ones_refused() -> None:
    assert "attention_cnn" in list_models()
    assert {"attention_cnn", "attention_cnn_se", "attention_cnn_cbam", "densenet121"} <= set(list_models())
    assert list_models() == sorted(list_models())
    with pytest.raises(ValueError, match=r"expected a network among \['attention_cnn'.*got 'lenet'"):
        create_model("lenet")


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'attention_cnn' does not take the options \{'depth': 3\}"):
        create_model("attention_cnn", depth=3)
